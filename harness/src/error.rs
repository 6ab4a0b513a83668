//! Errors in words.

use std::error::Error;

/// An error with its causes. A cause that the message already tells is not told again.
pub fn text(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = error.to_string();
        if !text.contains(&message) {
            text.push_str(": ");
            text.push_str(&message);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("cannot read x: {source}; try y")]
        struct Outer {
            source: Middle,
        }
        #[derive(Debug, thiserror::Error)]
        #[error("no such file")]
        struct Middle {
            source: std::fmt::Error,
        }
        let error = Outer {
            source: Middle {
                source: std::fmt::Error,
            },
        };
        let root = std::fmt::Error.to_string();
        assert_eq!(
            text(&error),
            format!("cannot read x: no such file; try y: {root}")
        );
    }
}
