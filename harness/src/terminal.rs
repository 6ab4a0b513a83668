//! What whoever watches is told, on standard error.

use std::borrow::Cow;
use std::fmt::Display;
use std::io::Write;

/// A text that can't steer a terminal, whatever the names in it are: they may come from elsewhere.
pub fn harmless(text: &str) -> Cow<'_, str> {
    let steers = |c: char| c.is_control() && c != '\n' && c != '\t';
    match text.contains(steers) {
        true => text.replace(steers, "\u{fffd}").into(),
        false => text.into(),
    }
}

/// Says a line. That nobody reads it any more, as when the reader of a pipe has ended, is no reason
/// to end before everything is given back.
pub fn say(line: impl Display) {
    let line = line.to_string();
    let _ = writeln!(std::io::stderr(), "{}", harmless(&line));
}
