//! `Accept-Encoding` (RFC 9110, section 12.5.3): does this client want gzip?

/// The weight of a coding, in thousandths.
type Weight = u16;

/// Whether gzip is at least as welcome as no coding at all.
///
/// `values` are the header's lines, in order; many lines are one list. An element that breaks the
/// grammar counts as not being there: the plain answer is always right.
pub fn wants_gzip<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> bool {
    let (mut gzip, mut identity, mut any) = (None, None, None);
    for element in values
        .into_iter()
        .flat_map(|value| value.split(|byte| *byte == b','))
    {
        let Some((coding, weight)) = element_of_list(element) else {
            continue;
        };
        let slot: &mut Option<Weight> = match () {
            () if coding.eq_ignore_ascii_case(b"gzip") => &mut gzip,
            // "A recipient SHOULD consider "x-gzip" to be equivalent to "gzip"" (8.4.1.3).
            () if coding.eq_ignore_ascii_case(b"x-gzip") => &mut gzip,
            () if coding.eq_ignore_ascii_case(b"identity") => &mut identity,
            () if coding == b"*" => &mut any,
            () => continue,
        };
        // Of two weights for the same coding the smaller holds, so a refusal always counts.
        *slot = Some(slot.map_or(weight, |before| before.min(weight)));
    }
    let gzip = gzip.or(any).unwrap_or(0);
    // An answer without coding is always acceptable, but unless it is named, never preferred.
    gzip > 0 && gzip >= identity.unwrap_or(0)
}

/// `gzip;q=0.5` as coding and weight; `None` if it isn't one.
fn element_of_list(element: &[u8]) -> Option<(&[u8], Weight)> {
    let mut parts = element.split(|byte| *byte == b';');
    let coding = parts.next()?.trim_ascii();
    let weight = match parts.next() {
        None => 1000,
        Some(parameter) => weight(parameter.trim_ascii())?,
    };
    parts.next().is_none().then_some((coding, weight))
}

/// `q=0.5` in thousandths: at most three digits after the point, and never more than 1.
fn weight(parameter: &[u8]) -> Option<Weight> {
    let [b'q' | b'Q', b'=', whole @ (b'0' | b'1'), fraction @ ..] = parameter else {
        return None;
    };
    let digits = match fraction {
        [] => fraction,
        [b'.', digits @ ..] if digits.len() <= 3 => digits,
        _ => return None,
    };
    let mut weight = Weight::from(whole - b'0');
    for place in 0..3 {
        let digit = digits.get(place).copied().unwrap_or(b'0');
        if !digit.is_ascii_digit() {
            return None;
        }
        weight = weight * 10 + Weight::from(digit - b'0');
    }
    (weight <= 1000).then_some(weight)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn wants(lines: &[&str]) -> bool {
        wants_gzip(lines.iter().map(|line| line.as_bytes()))
    }

    #[test]
    fn gzip() {
        for line in [
            "gzip",
            "GZip",
            "x-gzip",
            "gzip, deflate, br, zstd",
            "br;q=1.0, gzip;q=0.8, *;q=0.1",
            "*",
            "*;q=0.001",
            "br , gzip ; q=0.001",
            "gzip;q=1.000",
            "gzip;Q=1.",
            "identity;q=0.5, gzip;q=0.5",
            "identity;q=0, *",
            ",gzip,",
            "nonsense;q=2, gzip",
            "identity;q=0.5, *;q=0.6",
        ] {
            assert!(wants(&[line]), "{line}");
        }
        assert!(wants(&["br", "gzip"]));
    }

    #[test]
    fn plain() {
        for line in [
            "",
            ",",
            "identity",
            "br, zstd",
            "gzip;q=0",
            "gzip;q=0.000",
            "gzip;q=0, *",
            "*;q=0",
            "*;q=0, identity",
            "gzip;q=0.5, identity;q=0.6",
            "gzip, identity;q=1, gzip;q=0",
            "gzipped",
            "not-gzip",
            "gzip;q=1.1",
            "gzip;q=2",
            "gzip;q=0.0001",
            "gzip;q=-1",
            "gzip;q=",
            "gzip;q",
            "gzip;level=9",
            "gzip;q=1;q=1",
            "gzip q=1",
            "identity;q=0",
        ] {
            assert!(!wants(&[line]), "{line}");
        }
        assert!(!wants(&[]));
        assert!(!wants(&["gzip", "gzip;q=0"]));
    }

    proptest! {
        /// However many codings and spaces stand around it, gzip's own weight decides.
        #[test]
        fn the_weight_decides(
            q in 0_u16..=1000,
            before in proptest::collection::vec("[a-f]{1,8}(;q=0\\.[0-9])?", 0..5),
            after in proptest::collection::vec("[a-f]{1,8}(;q=0\\.[0-9])?", 0..5),
            space in "[ \t]{0,3}",
        ) {
            let gzip = format!("gzip{space};{space}q={}.{:03}", q / 1000, q % 1000);
            let list: Vec<String> = before.into_iter().chain([gzip]).chain(after).collect();
            prop_assert_eq!(wants(&[&list.join(&format!("{space},{space}"))]), q > 0);
            let lines: Vec<&str> = list.iter().map(String::as_str).collect();
            prop_assert_eq!(wants(&lines), q > 0);
        }

        /// Whatever bytes are sent, nothing panics, and nobody who didn't ask gets gzip.
        #[test]
        fn anything(line: Vec<u8>) {
            if wants_gzip([line.as_slice()]) {
                let text = String::from_utf8_lossy(&line).to_lowercase();
                prop_assert!(text.contains("gzip") || text.contains('*'));
            }
        }
    }
}
