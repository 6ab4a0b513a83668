//! StatsD over UDP, with DogStatsD's packed values
//! (<https://docs.datadoghq.com/developers/dogstatsd/datagram_shell/>).

use super::refusal::Refusal;
use super::span::KEEP;
use super::tally::Tally;

/// Counts the lines of a datagram: `name:value[:value…]|type[|…]` each.
///
/// # Errors
/// When a line is something else; the others are counted.
pub fn datagram(bytes: &[u8], tally: &mut Tally) -> Result<(), Refusal> {
    let mut outcome = Ok(());
    let text = String::from_utf8_lossy(bytes);
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        // Events and service checks are no points of a metric.
        if line.starts_with("_e{") || line.starts_with("_sc|") {
            continue;
        }
        match metric(line) {
            Some((name, values)) => {
                let end = name.floor_char_boundary(KEEP);
                tally.metric_points.add(&name[..end], values);
            }
            None => outcome = Err(Refusal::Malformed),
        }
    }
    outcome
}

fn metric(line: &str) -> Option<(&str, u64)> {
    let (head, rest) = line.split_once('|')?;
    let (name, values) = head.split_once(':')?;
    let kind = rest.split('|').next()?;
    let known = ["c", "g", "ms", "h", "s", "d"].contains(&kind);
    // A set's values may be any text.
    let numbers = kind == "s" || values.split(':').all(|value| value.parse::<f64>().is_ok());
    (!name.is_empty() && known && numbers).then(|| (name, values.split(':').count() as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_and_what_is_none_is_told() {
        let mut tally = Tally::default();
        let text = b"requests:1|c|#route:/objects\nlatency:1.5:2:3|d|@0.5\nusers:ann|s\n_sc|up|0\n";
        assert_eq!(datagram(text, &mut tally), Ok(()));
        assert_eq!(tally.metric_points.total(), 5);
        for bad in [&b"x"[..], b"x:y|c", b":1|c", b"x:1|q", b"\xff\xfe"] {
            assert_eq!(
                datagram(bad, &mut tally),
                Err(Refusal::Malformed),
                "{bad:?}"
            );
        }
        assert_eq!(tally.metric_points.total(), 5);
    }
}
