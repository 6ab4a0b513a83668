//! Lines of roles, each with its own dashes.

use super::palette::look;
use super::scene::{Point, Scene};
use crate::sample::Subject;

/// A line in a role's colour and dashes.
pub fn stroke(scene: &mut Scene, points: &[Point], subject: Subject) {
    let look = look(subject);
    let width = if matches!(subject, Subject::Target | Subject::Agent) {
        1.8
    } else {
        1.3
    };
    let Some((dash, gap)) = look.dash else {
        return scene.line(points.to_vec(), width, look.color);
    };
    let (mut drawing, mut left) = (true, dash);
    let mut piece: Vec<Point> = points.first().copied().into_iter().collect();
    for pair in points.windows(2) {
        let (mut from, to) = (pair[0], pair[1]);
        loop {
            let length = (to.0 - from.0).hypot(to.1 - from.1);
            if length <= left {
                left -= length;
                piece.push(to);
                break;
            }
            let share = left / length;
            from = (
                from.0 + (to.0 - from.0) * share,
                from.1 + (to.1 - from.1) * share,
            );
            piece.push(from);
            if drawing {
                scene.line(std::mem::take(&mut piece), width, look.color);
            }
            piece = vec![from];
            (drawing, left) = if drawing { (false, gap) } else { (true, dash) };
        }
    }
    if drawing {
        scene.line(piece, width, look.color);
    }
}
