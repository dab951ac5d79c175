//! The lab between real sockets.

#![allow(clippy::unwrap_used, reason = "a failed test panics")]

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    process::Stdio,
    time::{Duration, Instant},
};

use netlab::{Lab, Link, isolated};

/// How long until `to` refuses a connection of `from`; `None` if nothing comes back.
fn dial(lab: &Lab, from: usize, to: usize) -> Option<Duration> {
    let script = format!("exec 3<>/dev/tcp/{}/9", lab.hosts[to - 1].address);
    let started = Instant::now();
    let mut dialling = lab.hosts[from - 1].command("timeout");
    let output = dialling.args(["1", "bash", "-c", &script]).output().unwrap();
    String::from_utf8_lossy(&output.stderr).contains("refused").then(|| started.elapsed())
}

#[test]
fn links_delay_lose_and_are_cut() {
    if !isolated("links_delay_lose_and_are_cut").unwrap() {
        return;
    }
    let lab = Lab::new(3, 1).unwrap();
    assert!(dial(&lab, 1, 2).is_some());
    lab.set_all(Link::delayed(Duration::from_millis(75)));
    let took = dial(&lab, 1, 2).unwrap();
    assert!(took >= Duration::from_millis(150), "{took:?}");
    lab.partition(&[1]);
    assert_eq!((dial(&lab, 1, 2), dial(&lab, 3, 1)), (None, None));
    assert!(dial(&lab, 2, 3).is_some());
    lab.set_all(Link::PERFECT);
    assert!(dial(&lab, 3, 1).is_some());
    assert!(lab.sent(1, 2) > 0);
}

#[test]
fn a_host_reaches_this_process_through_a_slow_link_to_others_only() {
    if !isolated("a_host_reaches_this_process_through_a_slow_link_to_others_only").unwrap() {
        return;
    }
    let lab = Lab::new(1, 1).unwrap();
    lab.set_all(Link::CUT);
    let listener = TcpListener::bind((lab.own_address(), 0)).unwrap();
    let target = listener.local_addr().unwrap();
    let script = format!("exec 3<>/dev/tcp/{}/{}; head -c 1000000 /dev/zero >&3", target.ip(), target.port());
    let mut sender = lab.hosts[0].command("bash").args(["-c", &script]).stdin(Stdio::null()).spawn().unwrap();
    let started = Instant::now();
    let mut bytes = Vec::new();
    let (mut stream, _): (TcpStream, _) = listener.accept().unwrap();
    stream.read_to_end(&mut bytes).unwrap();
    stream.flush().unwrap();
    println!("1 MB through the router in {:?}", started.elapsed());
    assert_eq!(bytes.len(), 1_000_000);
    assert!(sender.wait().unwrap().success());
}

#[test]
fn a_wrong_name_does_not_pass_for_a_test() {
    let error = isolated("no_such_test").unwrap_err();
    assert!(error.to_string().contains("no_such_test"), "{error:#}");
}
