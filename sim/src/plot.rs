//! The plot of an [`Answer`]: how likely a client is fooled, by its number of samples.

use indicatif::HumanCount;
use light_client::sampler::Confidence;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::Answer;

const SIZE: (u32, u32) = (960, 600);
const FONT: &str = "sans-serif";
const INK: RGBColor = RGBColor(31, 41, 55);
const FAINT: RGBColor = RGBColor(100, 108, 120);
const GRID: RGBColor = RGBColor(229, 231, 235);
// Okabe and Ito's blue and vermilion: told apart by the colour-blind too.
const FORMULA: RGBColor = RGBColor(0, 114, 178);
const COUNTED: RGBColor = RGBColor(213, 94, 0);

/// The least probability drawn, as a power of ten.
const LOWEST: f64 = -60.0;

/// An SVG of the closed form as a line and of the counts as points with their intervals, on a
/// logarithmic scale. Where nobody was fooled there is no point.
///
/// # Errors
/// The plot cannot be laid out.
pub fn plot(answer: &Answer) -> anyhow::Result<String> {
    let mut svg = String::new();
    draw(answer, &SVGBackend::with_string(&mut svg, SIZE).into_drawing_area())
        .map_err(|error| anyhow::anyhow!("drawing the plot: {error}"))?;
    Ok(svg)
}

fn draw<B: DrawingBackend>(
    answer: &Answer,
    area: &DrawingArea<B, Shift>,
) -> Result<(), DrawingAreaErrorKind<B::ErrorType>> {
    let &Answer { width, cells, withheld, clients, seed, ref points } = answer;
    let [cells, withheld] = [cells, withheld].map(|cells| HumanCount(cells as u64));
    let crowd = HumanCount(clients.into());
    let formula: Vec<(f64, f64)> = points
        .iter()
        .map(|point| (point.samples as f64, point.closed_form.log10()))
        .take_while(|(_, exponent)| *exponent >= LOWEST)
        .collect();
    let bottom = formula.last().map_or(-1.0, |(_, exponent)| exponent.floor()).min(-1.0);
    let right = points.len() as f64 + 1.0;

    area.fill(&WHITE)?;
    area.draw_text("Probability that a light client misses a withheld block", &text(25, &INK), (28, 20))?;
    let subtitle = format!(
        "width k = {width}: {withheld} of {cells} cells withheld, the fewest that make it unrecoverable; \
         {crowd} clients, seed {seed}"
    );
    area.draw_text(&subtitle, &text(16, &FAINT), (28, 54))?;
    legend(area)?;

    let mut chart = ChartBuilder::on(area)
        .margin_top(92)
        .margin_right(28)
        .margin_bottom(14)
        .margin_left(18)
        .x_label_area_size(52)
        .y_label_area_size(76)
        .build_cartesian_2d(0.0..right, bottom..0.0)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID)
        .axis_style(FAINT)
        .label_style(text(16, &INK))
        .axis_desc_style(text(18, &INK))
        .x_desc("samples per client")
        .y_desc("probability of being fooled")
        // At most one a sample and one a decade, so that each is a whole number.
        .x_labels((points.len() + 2).min(13))
        .y_labels((1.0 - bottom).min(11.0) as usize)
        .x_label_formatter(&|samples| format!("{samples:.0}"))
        .y_label_formatter(&|exponent| power_of_ten(*exponent))
        .draw()?;

    let guides = [
        (Confidence::DEFAULT.miss(), format!("{} sure", Confidence::DEFAULT)),
        (1.0 / f64::from(clients), format!("one of {crowd} clients")),
    ];
    for (y, name) in guides.into_iter().map(|(y, name)| (y.log10(), name)) {
        if bottom < y && y < 0.0 {
            chart.draw_series(DashedLineSeries::new([(0.0, y), (right, y)], 5, 5, FAINT.into()))?;
            // The name goes where the curve is not.
            let crossing = formula.iter().filter(|(_, exponent)| *exponent > y).count();
            let (x, side) =
                if 2 * crossing < points.len() { (0.99, HPos::Right) } else { (0.01, HPos::Left) };
            let style = text(15, &FAINT).pos(Pos::new(side, VPos::Bottom));
            chart.draw_series([Text::new(name, (x * right, y), style)])?;
        }
    }
    chart.draw_series(LineSeries::new(formula, FORMULA.stroke_width(2)))?;
    let cap = (0.007 * right).min(0.2);
    let radius = if points.len() <= 60 { 4 } else { 2 };
    for point in points.iter().filter(|point| point.fooled > 0) {
        let [middle, low, high] = [point.simulated, point.interval.low, point.interval.high]
            .map(|probability| (point.samples as f64, probability.log10().max(bottom)));
        let ends = [low, high].map(|(x, y)| [(x - cap, y), (x + cap, y)]);
        let bars = [[low, high], ends[0], ends[1]];
        chart.draw_series(bars.map(|bar| PathElement::new(bar, COUNTED.stroke_width(2))))?;
        chart.draw_series([Circle::new(middle, radius, COUNTED.filled())])?;
    }
    Ok(())
}

/// Right of the title, where no curve comes.
fn legend<B: DrawingBackend>(area: &DrawingArea<B, Shift>) -> Result<(), DrawingAreaErrorKind<B::ErrorType>> {
    area.draw(&PathElement::new([(610, 30), (636, 30)], FORMULA.stroke_width(2)))?;
    area.draw_text("closed form", &text(16, &INK), (644, 24))?;
    area.draw(&PathElement::new([(757, 22), (757, 38)], COUNTED.stroke_width(2)))?;
    area.draw(&Circle::new((757, 30), 4, COUNTED.filled()))?;
    area.draw_text("simulated, 95% interval", &text(16, &INK), (767, 24))
}

fn text(size: u32, colour: &'static RGBColor) -> TextStyle<'static> {
    TextStyle::from((FONT, size).into_font()).color(colour)
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
    fn labels_are_powers_of_ten() {
        assert_eq!([0.0, -1.0, -25.0].map(power_of_ten), ["1", "10⁻¹", "10⁻²⁵"]);
    }
}
