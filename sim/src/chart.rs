//! Plots: lines and points with intervals, on plain or logarithmic axes, as SVG.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

const SIZE: (u32, u32) = (960, 600);
const MARGIN: i32 = 28;
const FONT: &str = "sans-serif";
const INK: RGBColor = RGBColor(31, 41, 55);
const FAINT: RGBColor = RGBColor(100, 108, 120);
const GRID: RGBColor = RGBColor(229, 231, 235);

/// Okabe and Ito's colours: told apart by the colour-blind too.
const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(31, 41, 55),
];

/// The least value drawn on a logarithmic axis, as a power of ten.
const LOWEST: f64 = -60.0;

/// One axis.
#[derive(Clone, Debug)]
pub struct Axis {
    label: String,
    logarithmic: bool,
    from: Option<f64>,
    to: Option<f64>,
}

impl Axis {
    /// An axis whose scale is plain and starts at zero.
    #[must_use]
    pub fn plain(label: &str) -> Self {
        Self { label: label.to_owned(), logarithmic: false, from: Some(0.0), to: None }
    }

    /// An axis by powers of ten.
    #[must_use]
    pub fn logarithmic(label: &str) -> Self {
        Self { label: label.to_owned(), logarithmic: true, from: None, to: None }
    }

    /// The same, ending here.
    #[must_use]
    pub fn to(mut self, to: f64) -> Self {
        self.to = Some(to);
        self
    }

    #[expect(clippy::disallowed_methods, reason = "a plot is to look at, and no part of an answer")]
    fn place(&self, value: f64) -> f64 {
        if self.logarithmic { value.log10().max(LOWEST) } else { value }
    }

    /// From where to where the axis goes, in places, when these values lie on it.
    fn range(&self, values: impl Iterator<Item = f64>) -> (f64, f64) {
        let shown = values.filter(|value| !self.logarithmic || *value > 0.0);
        let (mut low, mut high) = shown
            .map(|value| self.place(value))
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), at| (low.min(at), high.max(at)));
        if low > high {
            (low, high) = (0.0, 1.0);
        }
        if self.logarithmic {
            (low, high) = ((low + 1e-9).floor(), (high - 1e-9).ceil());
        } else {
            high += 0.03 * (high - low);
        }
        low = self.from.map_or(low, |from| self.place(from));
        high = self.to.map_or(high, |to| self.place(to));
        (low, if high > low { high } else { low + 1.0 })
    }

    fn name(&self, place: f64) -> String {
        if self.logarithmic { power_of_ten(place) } else { number(place) }
    }
}

/// How a series is drawn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Drawn {
    /// As a line.
    Line,
    /// As points with their intervals.
    Points,
    /// As a line through such points.
    Both,
    /// As a line in the band of its intervals.
    Band,
}

/// One value over x, with an interval that may be empty.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Mark {
    x: f64,
    y: f64,
    low: f64,
    high: f64,
}

impl Mark {
    /// A value known exactly.
    #[must_use]
    pub fn exact(x: f64, y: f64) -> Self {
        Self { x, y, low: y, high: y }
    }

    /// A value and the interval around it.
    #[must_use]
    pub fn within(x: f64, y: f64, interval: crate::Interval) -> Self {
        Self { x, y, low: interval.low, high: interval.high }
    }
}

/// A plot.
#[derive(Clone, Debug)]
pub struct Chart {
    title: String,
    subtitle: String,
    x: Axis,
    y: Axis,
    series: Vec<(String, Drawn, Vec<Mark>)>,
    guides: Vec<(f64, String)>,
}

impl Chart {
    /// An empty plot.
    #[must_use]
    pub fn new(title: impl Into<String>, subtitle: impl Into<String>, x: Axis, y: Axis) -> Self {
        let (title, subtitle) = (title.into(), subtitle.into());
        Self { title, subtitle, x, y, series: Vec::new(), guides: Vec::new() }
    }

    /// With this series too, in the next colour.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, drawn: Drawn, marks: Vec<Mark>) -> Self {
        self.series.push((name.into(), drawn, marks));
        self
    }

    /// With a dashed horizontal line that has a name, if it lies in the plot.
    #[must_use]
    pub fn guide(mut self, y: f64, name: impl Into<String>) -> Self {
        self.guides.push((y, name.into()));
        self
    }

    /// The plot as SVG.
    ///
    /// # Errors
    /// The plot cannot be laid out.
    pub fn svg(&self) -> anyhow::Result<String> {
        let mut svg = String::new();
        self.draw(&SVGBackend::with_string(&mut svg, SIZE).into_drawing_area())
            .map_err(|error| anyhow::anyhow!("drawing the plot: {error}"))?;
        Ok(svg)
    }

    fn draw<B: DrawingBackend>(
        &self,
        area: &DrawingArea<B, Shift>,
    ) -> Result<(), DrawingAreaErrorKind<B::ErrorType>> {
        let marks = || self.series.iter().flat_map(|(_, _, marks)| marks);
        let (left, right) = self.x.range(marks().map(|mark| mark.x));
        let (bottom, top) = self.y.range(marks().flat_map(|mark| [mark.y, mark.high]));

        area.fill(&WHITE)?;
        area.draw_text(&self.title, &text(24, &INK), (MARGIN, 18))?;
        area.draw_text(&self.subtitle, &text(15, &FAINT), (MARGIN, 50))?;
        self.legend(area)?;
        let mut chart = ChartBuilder::on(area)
            .margin_top(self.legend_places().last().map_or(84, |(_, y)| *y) + 22)
            .margin_right(28)
            .margin_bottom(14)
            .margin_left(18)
            .x_label_area_size(52)
            .y_label_area_size(76)
            .build_cartesian_2d(left..right, bottom..top)?;
        let labels = |axis: &Axis, from: f64, to: f64| {
            if axis.logarithmic { (to - from + 1.0).min(11.0) as usize } else { 11 }
        };
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID)
            .axis_style(FAINT)
            .label_style(text(15, &INK))
            .axis_desc_style(text(17, &INK))
            .x_desc(&self.x.label)
            .y_desc(&self.y.label)
            .x_labels(labels(&self.x, left, right))
            .y_labels(labels(&self.y, bottom, top))
            .x_label_formatter(&|place| self.x.name(*place))
            .y_label_formatter(&|place| self.y.name(*place))
            .draw()?;
        for (y, name) in &self.guides {
            let y = self.y.place(*y);
            if bottom < y && y < top {
                chart.draw_series(DashedLineSeries::new([(left, y), (right, y)], 5, 5, FAINT.into()))?;
                // The name goes where no curve is.
                let near = |mark: &&Mark| {
                    let far = (self.y.place(mark.y) - y).abs() / (top - bottom);
                    self.x.place(mark.x) > left + 0.75 * (right - left) && far < 0.08
                };
                let (side, at) =
                    if marks().any(|mark| near(&mark)) { (HPos::Left, 0.01) } else { (HPos::Right, 0.99) };
                let style = text(14, &FAINT).pos(Pos::new(side, VPos::Bottom));
                chart.draw_series([Text::new(name.clone(), (left + at * (right - left), y), style)])?;
            }
        }
        for ((_, drawn, marks), colour) in self.series.iter().zip(COLOURS.iter().cycle()) {
            let shown = || marks.iter().filter(|mark| !self.y.logarithmic || mark.y > 0.0);
            let place = |x: f64, y: f64| (self.x.place(x), self.y.place(y).clamp(bottom, top));
            if *drawn == Drawn::Band {
                let low = shown().map(|mark| place(mark.x, mark.low));
                let high = shown().map(|mark| place(mark.x, mark.high)).rev();
                let band: Vec<(f64, f64)> = low.chain(high).collect();
                chart.draw_series([Polygon::new(band, colour.mix(0.2).filled())])?;
            }
            if *drawn != Drawn::Points {
                let line = shown().map(|mark| place(mark.x, mark.y));
                chart.draw_series(LineSeries::new(line, colour.stroke_width(2)))?;
            }
            if matches!(drawn, Drawn::Points | Drawn::Both) {
                let cap = (right - left) * 0.004;
                let radius = if marks.len() <= 60 { 4 } else { 2 };
                for mark in shown() {
                    let (x, low) = place(mark.x, mark.low);
                    let (_, high) = place(mark.x, mark.high);
                    if low < high {
                        let ends = [low, high].map(|y| [(x - cap, y), (x + cap, y)]);
                        let bars = [[(x, low), (x, high)], ends[0], ends[1]];
                        chart.draw_series(bars.map(|bar| PathElement::new(bar, colour.stroke_width(2))))?;
                    }
                    chart.draw_series([Circle::new(place(mark.x, mark.y), radius, colour.filled())])?;
                }
            }
        }
        Ok(())
    }

    /// Where each series' name goes: under the subtitle, where no curve comes, in as many lines as it takes.
    fn legend_places(&self) -> Vec<(i32, i32)> {
        let (mut x, mut y) = (MARGIN, 84);
        let place = |(name, _, _): &(String, Drawn, Vec<Mark>)| {
            let width = 58 + 15 * name.chars().count() as i32 / 2;
            if x > MARGIN && x + width > SIZE.0 as i32 {
                (x, y) = (MARGIN, y + 22);
            }
            x += width;
            (x - width, y)
        };
        self.series.iter().map(place).collect()
    }

    fn legend<B: DrawingBackend>(
        &self,
        area: &DrawingArea<B, Shift>,
    ) -> Result<(), DrawingAreaErrorKind<B::ErrorType>> {
        let places = self.legend_places();
        for (((name, drawn, _), (x, y)), colour) in self.series.iter().zip(places).zip(COLOURS.iter().cycle())
        {
            if *drawn == Drawn::Band {
                area.draw(&Rectangle::new([(x, y - 7), (x + 26, y + 7)], colour.mix(0.2).filled()))?;
            }
            if *drawn != Drawn::Points {
                area.draw(&PathElement::new([(x, y), (x + 26, y)], colour.stroke_width(2)))?;
            }
            if matches!(drawn, Drawn::Points | Drawn::Both) {
                area.draw(&Circle::new((x + 13, y), 4, colour.filled()))?;
            }
            area.draw_text(name, &text(15, &INK), (x + 34, y - 7))?;
        }
        Ok(())
    }
}

fn text(size: u32, colour: &'static RGBColor) -> TextStyle<'static> {
    TextStyle::from((FONT, size).into_font()).color(colour)
}

/// `1.5`, `20 000`.
fn number(value: f64) -> String {
    let rounded = (value * 1_000.0).round() / 1_000.0;
    let written = format!("{rounded}");
    if rounded.abs() < 10_000.0 || written.contains('.') {
        return written;
    }
    let digits: Vec<char> = written.chars().collect();
    let groups: Vec<String> = digits.rchunks(3).rev().map(|group| group.iter().collect()).collect();
    groups.join("\u{202f}")
}

/// `10⁻³` for −3.
fn power_of_ten(exponent: f64) -> String {
    let digits = format!("{exponent:.0}");
    let raised = digits.chars().map(|digit| match digit {
        '-' => '⁻',
        digit => {
            digit.to_digit(10).and_then(|digit| "⁰¹²³⁴⁵⁶⁷⁸⁹".chars().nth(digit as usize)).unwrap_or(digit)
        }
    });
    if exponent == 0.0 { "1".to_owned() } else { "10".chars().chain(raised).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_powers_of_ten_or_grouped_by_thousands() {
        assert_eq!([0.0, -1.0, -25.0].map(power_of_ten), ["1", "10⁻¹", "10⁻²⁵"]);
        assert_eq!([0.3, 9_999.0, 20_000.0].map(number), ["0.3", "9999", "20\u{202f}000"]);
    }

    #[test]
    fn an_empty_chart_and_one_without_positive_values_are_drawn_too() -> anyhow::Result<()> {
        let empty = Chart::new("t", "s", Axis::plain("x"), Axis::logarithmic("y"));
        assert!(empty.svg()?.starts_with("<svg "));
        let zero = empty.with("zero", Drawn::Both, vec![Mark::exact(1.0, 0.0)]);
        assert!(!zero.svg()?.contains("NaN"));
        Ok(())
    }
}
