//! Charts: everything that must be on them is, nothing lies on anything else.

use flora_bench::report::chart::{CHARTS, NARROW, Scene, Shape, WIDE, svg, text_width};

use crate::fixtures;

/// Texts with the rectangle that each covers.
fn texts(scene: &Scene) -> Vec<(&str, [f64; 4])> {
    scene
        .shapes
        .iter()
        .filter_map(|shape| match shape {
            Shape::Text {
                at,
                text,
                size,
                bold,
                ..
            } => {
                let width = text_width(text, *size, *bold);
                Some((
                    text.as_str(),
                    [at.0, at.1 - size * 0.75, at.0 + width, at.1 + size * 0.2],
                ))
            }
            _ => None,
        })
        .collect()
}

fn scenes() -> Vec<Scene> {
    let mut scenes = Vec::new();
    for (report, samples) in [fixtures::baseline(), fixtures::agents(), fixtures::many()] {
        for chart in CHARTS {
            for width in [WIDE, NARROW] {
                scenes.push(chart.scene(&report, &samples, width));
            }
        }
    }
    scenes
}

#[test]
fn no_text_lies_on_another_or_leaves_the_drawing() {
    for scene in scenes() {
        let texts = texts(&scene);
        for (n, (text, [left, top, right, bottom])) in texts.iter().enumerate() {
            let name = format!("{text:?} in {:?} at {} px", scene.title, scene.width);
            assert!(
                *left >= 0.0 && *right <= scene.width && *top >= 0.0 && *bottom <= scene.height,
                "{name}"
            );
            for (other, box_) in &texts[n + 1..] {
                let apart =
                    *right <= box_[0] || box_[2] <= *left || *bottom <= box_[1] || box_[3] <= *top;
                assert!(apart, "{name} lies on {other:?}");
            }
        }
    }
}

#[test]
fn every_scenario_is_named_on_every_chart() {
    let (report, samples) = fixtures::agents();
    for chart in CHARTS {
        let scene = chart.scene(&report, &samples, WIDE);
        let texts = texts(&scene);
        for scenario in &report.scenarios {
            // A scenario that can't run has no place in time.
            if chart.file == "timeline" && scenario.planned_trials == 0 {
                continue;
            }
            assert!(
                texts.iter().any(|(text, _)| *text == scenario.name),
                "{} on {}",
                scenario.name,
                chart.file
            );
        }
    }
}

#[test]
fn every_trial_is_a_mark_of_its_own() {
    let (report, samples) = fixtures::baseline();
    let scene = CHARTS[0].scene(&report, &samples, WIDE);
    let discs = scene
        .shapes
        .iter()
        .filter(|shape| matches!(shape, Shape::Disc { radius, .. } if *radius < 2.3));
    // Five trials that count, for target and node; the sixth is a cross.
    assert_eq!(discs.count(), 10);
}

#[test]
fn svg_is_well_formed_and_scales() {
    for scene in scenes() {
        let text = svg(&scene, "some-chart");
        assert!(
            !text.contains("NaN") && !text.contains("inf"),
            "{}",
            scene.title
        );
        assert!(text.contains(&format!(
            "viewBox=\"0 0 {} {}\"",
            scene.width * 10.0,
            scene.height * 10.0
        )));
        assert!(text.contains("<title id=\"some-chart-title\">"));
        crate::markup::assert_balanced(&text);
    }
}

#[test]
fn names_are_escaped_in_svg() {
    let (mut report, samples) = fixtures::agents();
    report.scenarios[0].name = "<script>alert(\"1\")</script> & \u{1}".to_owned();
    for chart in CHARTS {
        let text = chart.svg(&report, &samples);
        assert!(!text.contains("<script"), "{}", chart.file);
        crate::markup::assert_balanced(&text);
    }
}
