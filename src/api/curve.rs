//! Draws curves over epochs as SVG. Presentation attributes only: the content security policy allows no styles.

use std::fmt::Write;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 420.0;
/// The plot inside the margins that labels need.
const LEFT: f64 = 76.0;
const RIGHT: f64 = 700.0;
const TOP: f64 = 44.0;
const BOTTOM: f64 = 364.0;
/// Blue and orange: told apart by everyone, printed in grey too.
const COLOURS: [&str; 4] = ["#2563eb", "#ea580c", "#059669", "#7c3aed"];
/// From this ratio of the largest to the smallest figure on, a linear scale shows only the first epochs.
const LOG_FROM_RATIO: f64 = 50.0;
/// Columns of pixels; a line with more points than two for each is thinned to the extremes of each.
const PIXELS: usize = 624;

/// One figure of every epoch; `None` where it was not finite.
pub(super) struct Line<'a> {
    pub(super) name: &'a str,
    pub(super) figures: &'a [Option<f64>],
}

/// The picture: axes with ticks, a curve and a legend entry a line.
pub(super) fn draw(epochs: &[u32], lines: &[Line<'_>]) -> String {
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" \
         role=\"img\" font-family=\"system-ui, sans-serif\" font-size=\"13\" fill=\"#374151\">\n\
         <title>loss by epoch</title>\n<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#ffffff\"/>\n"
    );
    let figures = || {
        lines
            .iter()
            .flat_map(|line| line.figures)
            .flatten()
            .map(|figure| drawable(*figure))
    };
    let low = figures().fold(f64::INFINITY, f64::min);
    let high = figures().fold(f64::NEG_INFINITY, f64::max);
    if let (Some(first), Some(last), true) = (epochs.first(), epochs.last(), low <= high) {
        let x = Axis::epochs(*first, *last);
        let y = Axis::figures(low, high);
        draw_axes(&mut svg, &x, &y);
        for (index, line) in lines.iter().enumerate() {
            let colour = COLOURS[index % COLOURS.len()];
            draw_line(&mut svg, epochs, line, &x, &y, colour);
            draw_legend_entry(&mut svg, index, line.name, colour);
        }
    } else {
        let (x, y) = ((LEFT + RIGHT) / 2.0, (TOP + BOTTOM) / 2.0);
        push(
            &mut svg,
            format_args!("<text x=\"{x}\" y=\"{y}\" text-anchor=\"middle\">No epoch is done yet.</text>"),
        );
    }
    svg.push_str("</svg>\n");
    svg
}

/// Within a range whose differences and ratios are numbers too.
fn drawable(figure: f64) -> f64 {
    figure.clamp(-1e100, 1e100)
}

fn push(svg: &mut String, element: std::fmt::Arguments<'_>) {
    writeln!(svg, "{element}").expect("a String takes all that is written to it");
}

/// Maps values to pixels.
struct Axis {
    low: f64,
    high: f64,
    log: bool,
    from: f64,
    to: f64,
    ticks: Vec<f64>,
}

impl Axis {
    fn epochs(first: u32, last: u32) -> Self {
        let (low, high) = (f64::from(first), f64::from(last.max(first + 1)));
        let mut ticks = linear_ticks(low, high, 8, 1.0);
        if first == last {
            ticks = vec![low];
        }
        Self {
            low,
            high,
            log: false,
            from: LEFT,
            to: RIGHT,
            ticks,
        }
    }

    fn figures(low: f64, high: f64) -> Self {
        let (from, to) = (BOTTOM, TOP);
        if low > 0.0 && high / low >= LOG_FROM_RATIO {
            let (low, high) = (low / 1.2, high * 1.2);
            return Self {
                low,
                high,
                log: true,
                from,
                to,
                ticks: log_ticks(low, high),
            };
        }
        // Room above and below, also for a curve that is level.
        let room = ((high - low) * 0.05).max(high.abs() * 1e-3).max(1e-9);
        let floor = if low >= 0.0 {
            0.0_f64.max(low - room)
        } else {
            low - room
        };
        let ceiling = high + room;
        Self {
            low: floor,
            high: ceiling,
            log: false,
            from,
            to,
            ticks: linear_ticks(floor, ceiling, 6, 0.0),
        }
    }

    fn at(&self, value: f64) -> f64 {
        let share = match self.log {
            true => (value.log10() - self.low.log10()) / (self.high.log10() - self.low.log10()),
            false => (value - self.low) / (self.high - self.low),
        };
        self.from + share * (self.to - self.from)
    }

    /// A tick's text, with as many digits as tell it from the next.
    fn label(&self, tick: f64) -> String {
        if tick != 0.0 && !(1e-4..1e6).contains(&tick.abs()) {
            let text = format!("{tick:.2e}");
            let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
            return format!("{}e{exponent}", digits.trim_end_matches('0').trim_end_matches('.'));
        }
        let steps = self.ticks.windows(2).map(|pair| pair[1] - pair[0]);
        let grain = if self.log {
            tick
        } else {
            steps.fold(f64::INFINITY, f64::min)
        };
        let decimals = if grain.is_finite() {
            (-grain.log10().floor()).clamp(0.0, 8.0)
        } else {
            0.0
        };
        format!("{tick:.*}", decimals as usize)
    }
}

/// Multiples of 1, 2 or 5 times a power of ten, at most about `count` of them, at least `least` apart.
fn linear_ticks(low: f64, high: f64, count: usize, least: f64) -> Vec<f64> {
    let raw = (high - low) / count as f64;
    let power = 10f64.powf(raw.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power);
    let step = step
        .into_iter()
        .find(|step| *step >= raw)
        .unwrap_or(10.0 * power)
        .max(least);
    let first = (low / step).ceil() as i64;
    (first..)
        .map(|index| index as f64 * step)
        .take_while(|tick| *tick <= high + step * 1e-9)
        .collect()
}

/// Powers of ten, every so many of them that at most eight are left; with 2 and 5 between when they are few.
fn log_ticks(low: f64, high: f64) -> Vec<f64> {
    let decades = low.log10().floor() as i32..=high.log10().ceil() as i32;
    let every = (decades.clone().count() / 8 + 1) as i32;
    let factors: &[f64] = if decades.clone().count() <= 5 {
        &[1.0, 2.0, 5.0]
    } else {
        &[1.0]
    };
    let decades = decades.filter(|decade| decade % every == 0);
    let ticks = decades.flat_map(|decade| factors.iter().map(move |factor| factor * 10f64.powi(decade)));
    ticks.filter(|tick| (low..=high).contains(tick)).collect()
}

fn draw_axes(svg: &mut String, x: &Axis, y: &Axis) {
    for tick in &y.ticks {
        let at = y.at(*tick);
        push(
            svg,
            format_args!("<path d=\"M{LEFT} {at:.1}H{RIGHT}\" stroke=\"#e5e7eb\"/>"),
        );
        let label = y.label(*tick);
        let text = at + 4.5;
        push(
            svg,
            format_args!(
                "<text x=\"{}\" y=\"{text:.1}\" text-anchor=\"end\">{label}</text>",
                LEFT - 10.0
            ),
        );
    }
    for tick in &x.ticks {
        let at = x.at(*tick);
        push(
            svg,
            format_args!("<path d=\"M{at:.1} {BOTTOM}v6\" stroke=\"#6b7280\"/>"),
        );
        let label = x.label(*tick);
        push(
            svg,
            format_args!(
                "<text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{label}</text>",
                BOTTOM + 22.0
            ),
        );
    }
    push(
        svg,
        format_args!("<path d=\"M{LEFT} {TOP}V{BOTTOM}H{RIGHT}\" fill=\"none\" stroke=\"#6b7280\"/>"),
    );
    let (middle_x, middle_y) = ((LEFT + RIGHT) / 2.0, (TOP + BOTTOM) / 2.0);
    push(
        svg,
        format_args!(
            "<text x=\"{middle_x}\" y=\"{}\" text-anchor=\"middle\">epoch</text>",
            HEIGHT - 12.0
        ),
    );
    let scale = if y.log { "loss (log scale)" } else { "loss" };
    let turned = format_args!("transform=\"rotate(-90 16 {middle_y})\" text-anchor=\"middle\"").to_string();
    push(
        svg,
        format_args!("<text x=\"16\" y=\"{middle_y}\" {turned}>{scale}</text>"),
    );
}

fn draw_legend_entry(svg: &mut String, index: usize, name: &str, colour: &str) {
    let x = LEFT + 4.0 + 110.0 * index as f64;
    let y = TOP - 20.0;
    push(
        svg,
        format_args!("<path d=\"M{x} {y}h24\" stroke=\"{colour}\" stroke-width=\"3\"/>"),
    );
    push(
        svg,
        format_args!("<text x=\"{}\" y=\"{}\">{name}</text>", x + 31.0, y + 4.5),
    );
}

/// The curve, broken where a figure is missing; a point that has no neighbours is a dot.
fn draw_line(svg: &mut String, epochs: &[u32], line: &Line<'_>, x: &Axis, y: &Axis, colour: &str) {
    let points = epochs.iter().zip(line.figures);
    let points: Vec<Option<(f64, f64)>> = points
        .map(|(epoch, figure)| figure.map(|figure| (x.at(f64::from(*epoch)), y.at(drawable(figure)))))
        .collect();
    let mut path = String::new();
    for stretch in points.split(Option::is_none).filter(|stretch| !stretch.is_empty()) {
        let stretch: Vec<(f64, f64)> = thinned(stretch.iter().flatten().copied().collect());
        if let [(x, y)] = stretch[..] {
            push(
                svg,
                format_args!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>"),
            );
            continue;
        }
        for (index, (x, y)) in stretch.iter().enumerate() {
            let command = if index == 0 { 'M' } else { 'L' };
            write!(path, "{command}{x:.1} {y:.1}").expect("a String takes all that is written to it");
        }
    }
    if !path.is_empty() {
        push(
            svg,
            format_args!(
                "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" stroke-linejoin=\"round\"/>"
            ),
        );
    }
}

/// The points, or, where they stand closer than pixels, the lowest and the highest of each column of pixels.
fn thinned(points: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    if points.len() <= 2 * PIXELS {
        return points;
    }
    let column = |point: &(f64, f64)| point.0.floor();
    let extremes = points.chunk_by(|a, b| column(a) == column(b)).flat_map(|chunk| {
        let by_height = |a: &&(f64, f64), b: &&(f64, f64)| a.1.total_cmp(&b.1);
        let mut ends = [chunk.iter().min_by(by_height), chunk.iter().max_by(by_height)];
        ends.sort_by(|a, b| a.map_or(0.0, |a| a.0).total_cmp(&b.map_or(0.0, |b| b.0)));
        ends.into_iter().flatten().copied()
    });
    extremes.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(figures: &[Option<f64>]) -> String {
        let epochs: Vec<u32> = (1..=figures.len() as u32).collect();
        draw(&epochs, &[Line { name: "loss", figures }])
    }

    #[test]
    fn a_curve_that_falls_far_is_drawn_on_a_log_scale() {
        let falling: Vec<_> = (0..100).map(|i| Some(10f64.powf(-f64::from(i) / 20.0))).collect();
        assert!(drawn(&falling).contains("log scale"));
        let level: Vec<_> = (0..100).map(|i| Some(1.0 + f64::from(i) / 100.0)).collect();
        assert!(!drawn(&level).contains("log scale"));
        assert!(!drawn(&[Some(0.0), Some(100.0)]).contains("log scale"));
    }

    #[test]
    fn no_picture_has_a_number_that_is_none() {
        let cases: &[&[Option<f64>]] = &[
            &[],
            &[None],
            &[Some(0.0)],
            &[Some(0.5); 3],
            &[Some(-1.0), Some(-1.0)],
            &[Some(1e300), None, Some(1e-300)],
            &[Some(f64::MAX), Some(f64::MIN_POSITIVE)],
            &[Some(-1e308), Some(1e308)],
        ];
        for figures in cases {
            let svg = drawn(figures);
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{figures:?}\n{svg}");
            assert!(svg.ends_with("</svg>\n"));
        }
    }

    #[test]
    fn ticks_are_round_numbers() {
        assert_eq!(linear_ticks(1.0, 500.0, 8, 1.0), [100.0, 200.0, 300.0, 400.0, 500.0]);
        assert_eq!(linear_ticks(1.0, 3.0, 8, 1.0), [1.0, 2.0, 3.0]);
        assert_eq!(log_ticks(0.004, 1.3), [0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0]);
        assert_eq!(log_ticks(1e-6, 1.0).len(), 7);
    }

    #[test]
    fn a_gap_breaks_the_curve_and_a_lone_point_is_a_dot() {
        let svg = drawn(&[Some(1.0), Some(2.0), None, Some(3.0), None]);
        assert_eq!(
            svg.matches('M').count() - drawn(&[None]).matches('M').count() - ticks(&svg),
            1
        );
        assert_eq!(svg.matches("<circle").count(), 1);
    }

    /// Paths that are not the curve: one a tick, the axes, the legend.
    fn ticks(svg: &str) -> usize {
        svg.matches("#e5e7eb").count() + svg.matches("v6").count() + 2
    }

    #[test]
    fn a_long_history_stays_a_small_picture_and_keeps_its_extremes() {
        let mut figures: Vec<_> = (0..1_000_000).map(|i| Some(1.0 + f64::from(i % 7) / 100.0)).collect();
        figures[500_000] = Some(1.5);
        let svg = drawn(&figures);
        assert!(svg.len() < 40_000, "{} bytes", svg.len());
        let top = Axis::figures(1.0, 1.5).at(1.5);
        assert!(svg.contains(&format!(" {top:.1}")));
    }
}
