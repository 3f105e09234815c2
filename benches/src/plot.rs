//! A plot for each family of scenarios: candidates as the problem grows.

use std::path::Path;

use plotters::prelude::*;

use crate::figures::{Axis, Figure, Figures, Scenario};

const SIZE: (u32, u32) = (800, 420);
const FONT: (&str, u32) = ("sans-serif", 14);

/// Draws each family into a file of its own, and returns their names.
pub(crate) fn draw(figures: &Figures, folder: &Path) -> Vec<String> {
    let mut families: Vec<&Scenario> = figures.scenarios();
    families.dedup_by(|one, other| one.family == other.family);
    let mut names = Vec::new();
    for scenario in families {
        let name = file_name(&scenario.family);
        if !names.contains(&name) {
            let of_family = |figure: &&Figure| figure.scenario.family == scenario.family;
            let figures: Vec<&Figure> = figures.iter().filter(of_family).collect();
            draw_family(scenario, &figures, &folder.join(&name))
                .expect("target/ can be written to");
            names.push(name);
        }
    }
    names
}

pub(crate) fn file_name(family: &str) -> String {
    let words = family.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("-").to_lowercase() + ".svg"
}

/// The place of each size is its number: the steps are few and uneven.
fn draw_family(
    scenario: &Scenario,
    figures: &[&Figure],
    path: &Path,
) -> Result<(), Box<dyn std::error::Error>> {
    let Scenario { family, axis, unit, .. } = scenario;
    let mut places: Vec<u64> = figures.iter().map(|figure| figure.scenario.at).collect();
    places.sort_unstable();
    places.dedup();
    let place = |figure: &Figure| {
        places.iter().position(|at| *at == figure.scenario.at).expect("listed above") as f64
    };
    let positive = |value: f64| value.max(1e-6);
    let least = figures.iter().map(|figure| positive(figure.min())).fold(f64::MAX, f64::min);
    let most = figures.iter().map(|figure| figure.max()).fold(1e-6, f64::max);

    let area = SVGBackend::new(path, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let (title, size) = FONT;
    let mut chart = ChartBuilder::on(&area)
        .caption(format!("{family} [{}]", unit.name()), (title, size + 4))
        .margin(12)
        .x_label_area_size(46)
        .y_label_area_size(76)
        .build_cartesian_2d(
            -0.3..places.len() as f64 - 0.7,
            (least / 1.6..most * 1.6).log_scale(),
        )?;
    let label = |at: &f64| label(*axis, &places, *at);
    chart
        .configure_mesh()
        .x_labels(places.len() * 10 + 1)
        .x_label_formatter(&label)
        .y_label_formatter(&|value| short(*value))
        .x_desc(axis.name())
        .disable_x_mesh()
        .label_style(FONT)
        .draw()?;
    let mut candidates: Vec<&str> = Vec::new();
    for figure in figures {
        if !candidates.contains(&figure.candidate.name.as_str()) {
            candidates.push(&figure.candidate.name);
        }
    }
    for (number, candidate) in candidates.iter().enumerate() {
        let color = Palette99::pick(number).to_rgba();
        let mut points: Vec<&&Figure> =
            figures.iter().filter(|figure| figure.candidate.name == *candidate).collect();
        points.sort_by_key(|figure| figure.scenario.at);
        // Beside each other, so that no spread hides another.
        let aside = (number as f64 - candidates.len() as f64 / 2.0) * 0.02;
        let line = points.iter().map(|figure| (place(figure) + aside, positive(figure.median())));
        chart
            .draw_series(LineSeries::new(line.clone(), color.stroke_width(2)).point_size(3))?
            .label(*candidate)
            .legend(move |(x, y)| Rectangle::new([(x, y - 4), (x + 14, y + 4)], color.filled()));
        chart.draw_series(points.iter().map(|figure| {
            let x = place(figure) + aside;
            PathElement::new(
                [(x, positive(figure.min())), (x, figure.max())],
                color.stroke_width(1),
            )
        }))?;
    }
    chart
        .configure_series_labels()
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .label_font(FONT)
        .draw()?;
    area.present()?;
    Ok(())
}

fn label(axis: Axis, places: &[u64], at: f64) -> String {
    let near = (at - at.round()).abs() < 0.01;
    let place = near.then(|| usize::try_from(at.round() as i64).ok()).flatten();
    place.and_then(|place| places.get(place)).map_or_else(String::new, |at| axis.short(*at))
}

fn short(value: f64) -> String {
    match value {
        1e6.. => format!("{}M", value / 1e6),
        1e3.. => format!("{}k", value / 1e3),
        _ => format!("{value}"),
    }
}
