//! Values over time as inline SVG that takes its size and colours from the page.
//!
//! The drawing is stretched to whatever room there is, lines keep their width, and all text is the page's own: so a
//! plot is as readable on a telephone and in the dark as on a desk.

use std::fmt::Write as _;

/// The drawing's own size, which nobody sees.
const SIZE: f64 = 1_000.0;

/// Points of a line at most.
const POINTS: usize = 600;

/// Lines of the grid, about.
const TICKS: f64 = 5.0;

/// How a series is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Drawn {
    Line,
    Dots,
}

/// One name in the legend: points by time in seconds, in one or several lines.
#[derive(Clone, Debug)]
pub(super) struct Series {
    pub(super) name: String,
    /// Which of the page's colours, 0 to 5.
    pub(super) colour: usize,
    pub(super) drawn: Drawn,
    pub(super) lines: Vec<Vec<(f64, f64)>>,
}

/// A time that is marked, with its reason.
#[derive(Clone, Debug)]
pub(super) struct Band {
    pub(super) from: f64,
    pub(super) to: f64,
    pub(super) text: String,
    /// No block can be decided meanwhile.
    pub(super) halts: bool,
}

/// A plot over the seconds from 0 to `seconds`.
#[derive(Clone, Debug)]
pub(super) struct Chart<'a> {
    pub(super) title: &'a str,
    pub(super) unit: &'a str,
    pub(super) seconds: f64,
    pub(super) series: Vec<Series>,
    pub(super) bands: &'a [Band],
}

impl Chart<'_> {
    /// The plot as HTML.
    pub(super) fn html(&self) -> String {
        let highest =
            self.series.iter().flat_map(|s| s.lines.iter().flatten()).map(|(_, y)| *y).fold(0.0, f64::max);
        let step = step(highest / TICKS);
        let top = (highest / step).floor() * step + step;
        let (x, y) = (|at: f64| at / self.seconds * SIZE, |value: f64| SIZE - value / top * SIZE);
        let mut svg = String::new();
        for band in self.bands {
            let class = if band.halts { "halts" } else { "fault" };
            let (from, width) = (x(band.from), x(band.to) - x(band.from));
            let text = escaped(&band.text);
            write!(svg, r#"<rect class="{class}" x="{from:.1}" y="0" width="{width:.1}" height="{SIZE}"><title>{text}</title></rect>"#).unwrap();
        }
        let mut ys = String::new();
        for tick in 0.. {
            let value = f64::from(tick) * step;
            if value > top * 0.999 {
                break;
            }
            write!(svg, r#"<path class="grid" d="M0 {0:.1}H{SIZE}"/>"#, y(value)).unwrap();
            write!(ys, r#"<span style="bottom:{:.2}%">{}</span>"#, value / top * 100.0, number(value))
                .unwrap();
        }
        let mut legend = String::new();
        for series in &self.series {
            let colour = series.colour;
            write!(legend, r#"<li class="c{colour}">{}</li>"#, escaped(&series.name)).unwrap();
            for line in &series.lines {
                let mut path = String::new();
                let every = line.len().div_ceil(POINTS).max(1);
                // Of dots each one counts; of a line the shape does.
                let every = if series.drawn == Drawn::Dots { 1 } else { every };
                for (place, (at, value)) in line.iter().step_by(every).enumerate() {
                    let (at, value) = (x(*at), y(*value));
                    match series.drawn {
                        Drawn::Dots => write!(path, "M{at:.1} {value:.1}h0"),
                        Drawn::Line => {
                            write!(path, "{}{at:.1} {value:.1}", if place == 0 { 'M' } else { 'L' })
                        }
                    }
                    .unwrap();
                }
                let class = if series.drawn == Drawn::Dots { " dots" } else { "" };
                write!(svg, r#"<path class="c{colour}{class}" d="{path}"/>"#).unwrap();
            }
        }
        let mut xs = String::new();
        let minutes = step_of_minutes(self.seconds / 60.0);
        for minute in (0..).map(|at| at as f64 * minutes).take_while(|minute| *minute * 60.0 <= self.seconds)
        {
            write!(xs, r#"<span style="left:{:.2}%">{minute}</span>"#, x(minute * 60.0) / SIZE * 100.0)
                .unwrap();
        }
        format!(
            r#"<figure><figcaption><b>{}</b> {}</figcaption><ul>{legend}</ul><div class="plot"><div class="ys">{ys}</div><svg role="img" aria-label="{0}" viewBox="0 0 {SIZE} {SIZE}" preserveAspectRatio="none">{svg}</svg><div class="xs">{xs}<i>minutes</i></div></div></figure>"#,
            escaped(self.title),
            escaped(self.unit),
        )
    }
}

/// 1, 2 or 5 times a power of ten, at least `least`.
fn step(least: f64) -> f64 {
    let power = 10f64.powf(least.max(1e-3).log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|part| part * power).find(|step| *step >= least).unwrap_or(power)
}

fn step_of_minutes(minutes: f64) -> f64 {
    [1.0, 2.0, 5.0, 10.0, 30.0, 60.0].into_iter().find(|step| minutes / step <= 10.0).unwrap_or(120.0)
}

fn number(value: f64) -> String {
    let rounded = (value * 1_000.0).round() / 1_000.0;
    format!("{rounded}")
}

/// Text that may stand between tags and in attributes.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[test]
fn a_chart_keeps_its_values_within_and_says_what_it_marks() {
    let series = |drawn, points| Series { name: "a<b".into(), colour: 1, drawn, lines: vec![points] };
    let bands = [Band { from: 30.0, to: 60.0, text: "v1 & v2".into(), halts: true }];
    let chart = Chart {
        title: "t",
        unit: "MiB",
        seconds: 120.0,
        series: vec![
            series(Drawn::Line, vec![(0.0, 0.0), (120.0, 40.0)]),
            series(Drawn::Dots, vec![(60.0, 20.0)]),
        ],
        bands: &bands,
    };
    let html = chart.html();
    for part in ["M0.0 1000.0L1000.0 200.0", "M500.0 600.0h0", "a&lt;b", "v1 &amp; v2", r#"x="250.0""#] {
        assert!(html.contains(part), "{part} is not in {html}");
    }
    let empty = Chart { series: Vec::new(), bands: &[], ..chart };
    assert!(!empty.html().contains("NaN"));
}

#[test]
fn steps_are_round() {
    assert_eq!([0.7, 3.0, 12.0, 100.0].map(step), [1.0, 5.0, 20.0, 100.0]);
    assert_eq!([4.0, 10.0, 60.0, 600.0].map(step_of_minutes), [1.0, 1.0, 10.0, 60.0]);
    assert_eq!([0.5, 200.0, 0.1 + 0.2].map(number), ["0.5", "200", "0.3"]);
}
