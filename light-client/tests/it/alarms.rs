//! Who is told of alarms, and what.

use axum::Json;
use axum::extract::State;
use axum::routing::post;
use light_client::{Alarm, AlarmHook, AlarmKind, Config, Event};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::chain_of_blocks::Chain;
use crate::node::{Behaviour, Node, Running, config_for, impatient, shared, within};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_and_a_webhook_are_told_of_an_alarm_and_of_its_end() {
    let home = tempfile::tempdir().unwrap();
    let told = home.path().join("told");
    let (posted, mut posts) = mpsc::channel(8);
    let route = post(|State(posted): State<mpsc::Sender<Alarm>>, Json(alarm): Json<Alarm>| async move {
        posted.send(alarm).await.unwrap();
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/alarm", listener.local_addr().unwrap());
    let server = axum::Router::new().route("/alarm", route).with_state(posted);
    tokio::spawn(async move { axum::serve(listener, server).await });

    let chain = shared(Chain::of(&[2, 16]));
    let node = Node::start(&chain, Behaviour::Withholds(2)).await;
    let line = format!("cat >> {0}; echo \" $WEFT_ALARM $WEFT_CHAIN $WEFT_HEIGHT\" >> {0}", told.display());
    let hooks =
        vec![AlarmHook::Command("exit 7".to_owned()), AlarmHook::Command(line), AlarmHook::Webhook(url)];
    let config = Config { alarm_hooks: hooks, ..impatient() };
    let network = config_for(&chain, 1, &[&node]);
    let mut running = Running::start(network, &home.path().join("light"), config).await;
    running.until(|event| matches!(event, Event::Unavailable { height: 2, .. }).then_some(())).await;
    // A hook that fails keeps no other from being told.
    let alarm: Alarm = within(posts.recv()).await.unwrap();
    assert_eq!(alarm.chain_id, "weft-test");
    let AlarmKind::Unavailable(report) = &alarm.kind else { panic!("{alarm:?}") };
    assert_eq!((report.height, report.state.word()), (2, "unavailable"));

    node.behave(Behaviour::Honest);
    let alarm: Alarm = within(posts.recv()).await.unwrap();
    assert!(matches!(&alarm.kind, AlarmKind::Recovered(report) if report.height == 2), "{alarm:?}");
    let text = std::fs::read_to_string(&told).unwrap();
    let lines: Vec<_> = text.lines().collect();
    assert!(lines[0].ends_with(" unavailable weft-test 2"), "{text}");
    assert!(lines[0].starts_with("{") && lines[0].contains("\"alarm\":\"unavailable\""), "{text}");
    assert!(lines[1].ends_with(" recovered weft-test 2"), "{text}");
    let metrics = running.client.metrics_text();
    assert!(metrics.contains("weft_light_client_alarms_failed_total 6"), "{metrics}");
    running.client.stop().await.unwrap();
}
