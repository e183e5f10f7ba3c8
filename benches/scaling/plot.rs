use std::error::Error;

use plotters::prelude::*;

/// What one policy did, as points from the left to the right.
pub(crate) struct Curve {
    pub(crate) name: &'static str,
    pub(crate) points: Vec<(f64, f64)>,
}

/// What runs from the left to the right.
pub(crate) struct Axis {
    pub(crate) title: &'static str,
    /// Where a number stands.
    pub(crate) place: fn(f64) -> f64,
    /// The number that stands at a place.
    pub(crate) number: fn(f64) -> f64,
}

const SIZE: (u32, u32) = (800, 480);
const COLORS: [RGBColor; 2] = [BLUE, RED];

/// Draws multiples of the bound, each as high above the last as it is times as much.
pub(crate) fn draw(path: &str, axis: &Axis, curves: &[Curve]) -> Result<(), Box<dyn Error>> {
    let points = || curves.iter().flat_map(|curve| &curve.points);
    let right = points().map(|(x, _)| (axis.place)(*x)).fold(1.0, f64::max);
    let top = points().map(|(_, y)| *y).fold(2.0, f64::max) * 1.2;
    let area = SVGBackend::new(path, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area);
    chart.margin(12).x_label_area_size(42).y_label_area_size(58);
    let mut chart = chart.build_cartesian_2d(0.0..right, (0.9..top).log_scale())?;
    let number = |x: &f64| format!("{:.0}", (axis.number)(*x));
    let mut mesh = chart.configure_mesh();
    mesh.x_desc(axis.title).y_desc("time ÷ bound").x_label_formatter(&number).draw()?;
    for (curve, color) in curves.iter().zip(COLORS) {
        let points = curve.points.iter().map(|(x, y)| ((axis.place)(*x), *y));
        let line = LineSeries::new(points, color.stroke_width(2)).point_size(3);
        let key = move |(x, y)| PathElement::new([(x, y), (x + 20, y)], color.stroke_width(2));
        chart.draw_series(line)?.label(curve.name).legend(key);
    }
    chart.configure_series_labels().background_style(WHITE).border_style(BLACK).draw()?;
    area.present()?;
    Ok(())
}
