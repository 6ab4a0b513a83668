//! Charts: everything that must be on them is, nothing lies on anything else.

use flora_bench::report::chart::{
    CHARTS, Chart, NARROW, Scene, Shape, WIDE, draw_claim, svg, text_width,
};

use flora_bench::report::{Claim, Report, Verdict, claims as claims_of};
use flora_bench::scenario::{BASELINE, TWIN};

use crate::fixtures;

fn claims(report: &Report) -> Vec<Claim> {
    [true, false]
        .into_iter()
        .flat_map(|headline| claims_of(report, headline))
        .collect()
}

fn chart(file: &str) -> Chart {
    CHARTS
        .into_iter()
        .find(|chart| chart.file == file)
        .expect("a chart of this name")
}

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
    for (report, samples) in [
        fixtures::baseline(),
        fixtures::agents(),
        fixtures::many(),
        fixtures::turns(),
        fixtures::amplified(),
        fixtures::cpu_limit(),
        fixtures::saturation(),
        fixtures::memory_limit(),
        fixtures::single(),
    ] {
        for chart in CHARTS {
            for width in [WIDE, NARROW] {
                scenes.push(chart.scene(&report, &samples, width));
            }
        }
        for claim in claims(&report) {
            for width in [WIDE, NARROW] {
                scenes.push(draw_claim(&report, claim, width));
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
    for chart in CHARTS.into_iter().filter(|c| c.applies(&report)) {
        let scene = chart.scene(&report, &samples, WIDE);
        let texts = texts(&scene);
        for scenario in &report.scenarios {
            // A scenario that can't run has no place in time.
            if chart.file == "timeline" && scenario.planned_trials == 0 {
                continue;
            }
            // The baseline is what others are shown against.
            if chart.file == "overhead" && scenario.name == BASELINE {
                continue;
            }
            assert!(
                texts
                    .iter()
                    .any(|(text, _)| text.starts_with(&scenario.name)),
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
    let scene = chart("cost").scene(&report, &samples, WIDE);
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

/// Discs of this size.
fn discs(scene: &Scene, size: f64) -> usize {
    let of_size = |shape: &&Shape| matches!(shape, Shape::Disc { radius, .. } if (radius - size).abs() < 1e-9);
    scene.shapes.iter().filter(of_size).count()
}

#[test]
fn no_block_is_hidden_behind_an_interval() {
    let (report, _) = fixtures::many();
    for claim in claims(&report) {
        let scene = draw_claim(&report, claim, WIDE);
        let compared = report.comparisons.iter();
        let blocks: usize = compared
            .filter(|c| Claim::of(c) == claim)
            .map(|c| c.block_ratios.len())
            .sum();
        assert!(blocks > 60, "{blocks}");
        assert_eq!(discs(&scene, 2.2), blocks, "{}", scene.title);
    }
}

/// What separates the twin from the baseline is the grey band, and no row.
#[test]
fn the_twin_is_no_contender() {
    for (report, samples) in [fixtures::many(), fixtures::turns()] {
        let scene = chart("overhead").scene(&report, &samples, WIDE);
        assert!(texts(&scene).iter().all(|(text, _)| *text != TWIN));
        assert!(
            texts(&scene)
                .iter()
                .any(|(text, _)| *text == "two identical baselines")
        );
        let scene = chart("blocks").scene(&report, &samples, WIDE);
        assert!(texts(&scene).iter().any(|(text, _)| *text == TWIN));
    }
}

/// Verdicts stand in words beside their marks, and a large change does not hide a small one.
#[test]
fn verdicts_are_words_and_small_changes_stay_apart() {
    let (mut report, samples) = fixtures::agents();
    for (comparison, ratio) in report.comparisons.iter_mut().zip([0.012, 0.01, 25.0]) {
        comparison.overhead_ratio = ratio;
        (comparison.low, comparison.high) = (Some(ratio * 0.7), Some(ratio * 1.3));
        comparison.block_ratios.clear();
    }
    report.comparisons[0].verdict = Verdict::Lower;
    let scene = chart("overhead").scene(&report, &samples, WIDE);
    let texts = texts(&scene);
    for word in ["higher", "lower", "inconclusive", "+2500 %"] {
        assert!(texts.iter().any(|(text, _)| text.trim() == word), "{word}");
    }
    assert!(
        texts
            .iter()
            .any(|(text, _)| text.contains("logarithmic away from zero"))
    );
    let claim = Claim::of(&report.comparisons[0]);
    let scene = draw_claim(&report, claim, WIDE);
    // The interval of 0.84 to 1.56 % beside +2500 % is still wider than its mark.
    let widest = scene.shapes.iter().filter_map(|shape| match shape {
        Shape::Line { points, width, .. } if *width == 1.6 && points[0].1 == points[1].1 => {
            Some(points[1].0 - points[0].0)
        }
        _ => None,
    });
    assert!(
        widest.clone().all(|width| width > 12.0),
        "{:?}",
        widest.collect::<Vec<_>>()
    );
}

/// Whoever sees no colours still tells neighbours in a bar apart.
#[test]
fn every_part_of_a_ledger_is_explained() {
    let (report, samples) = fixtures::agents();
    let scene = chart("ledger").scene(&report, &samples, WIDE);
    let texts = texts(&scene);
    for part in [
        "target",
        "agent",
        "load driver",
        "harness",
        "other tasks",
        "no task",
    ] {
        assert!(texts.iter().any(|(text, _)| *text == part), "{part}");
    }
}
