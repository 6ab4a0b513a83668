//! Routes, their changing parts taken out.

use flora_agent_common::layout::{OTHER, Route};
use flora_agent_common::method;
use flora_agent_common::template::{TEXT_BYTES, segment_is_identifier};
use std::mem::offset_of;

use crate::bpf::map::{Map, MapError};

/// What found no slot, or can't be told.
pub const UNKNOWN: &str = "_OTHER";

/// A method and a templated path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteName {
    /// The method.
    pub method: &'static str,
    /// The path.
    pub path: String,
}

impl RouteName {
    /// What stands for all that has no name of its own.
    pub fn other() -> Self {
        RouteName {
            method: UNKNOWN,
            path: UNKNOWN.to_owned(),
        }
    }

    /// Reads a value of the map; none while it is being written.
    fn read(value: &[u8]) -> Option<Self> {
        let byte = |offset: usize| value.get(offset).copied();
        if byte(offset_of!(Route, ready))? != 1 {
            return None;
        }
        let length = usize::from(byte(offset_of!(Route, length))?).min(TEXT_BYTES);
        let start = offset_of!(Route, text);
        let text = value.get(start..start + length)?;
        let method = usize::from(byte(offset_of!(Route, method))?);
        Some(RouteName {
            method: method::NAMES.get(method).copied().unwrap_or(UNKNOWN),
            path: template(text, byte(offset_of!(Route, cut))? == 1),
        })
    }
}

/// The routes that kernel programs have seen; one that has a name keeps it.
#[derive(Debug, Default)]
pub struct Routes {
    names: Vec<Option<RouteName>>,
}

impl Routes {
    /// Reads those that are new.
    ///
    /// # Errors
    /// When the map can't be read.
    pub fn refresh(&mut self, map: &Map) -> Result<(), MapError> {
        let entries = map.entries()?;
        for (index, value) in entries.values().enumerate() {
            if self.names.len() <= index {
                self.names.push(None);
            }
            if self.names[index].is_none() && index != usize::from(OTHER) {
                self.names[index] = RouteName::read(value);
            }
        }
        Ok(())
    }

    /// A route by its slot, if it is known by now.
    pub fn get(&self, slot: u16) -> Option<&RouteName> {
        self.names.get(usize::from(slot))?.as_ref()
    }

    /// A route by its slot.
    pub fn name(&self, slot: u16) -> RouteName {
        self.get(slot).cloned().unwrap_or_else(RouteName::other)
    }
}

/// The templated path of a request line's beginning: method, space, target.
///
/// The last segment of one that was cut is unknown, so it becomes `*`.
fn template(text: &[u8], cut: bool) -> String {
    let target = match text.iter().position(|byte| *byte == b' ') {
        Some(space) => &text[space + 1..],
        None => text,
    };
    // Kernel programs stop at the query; nothing behind it may get out, whatever they do.
    let end = target
        .iter()
        .position(|byte| matches!(byte, b'?' | b'#' | b' ' | b'\r'));
    let (target, cut) = match end {
        Some(end) => (&target[..end], false),
        None => (target, cut),
    };
    let Some(path) = path_of(target) else {
        return UNKNOWN.to_owned();
    };
    let mut segments: Vec<_> = path.split(|byte| *byte == b'/').collect();
    if cut {
        segments.pop();
    }
    let mut out = String::with_capacity(path.len());
    for (index, segment) in segments.iter().enumerate() {
        if index > 0 {
            out.push('/');
        }
        if segment_is_identifier(segment) {
            out.push_str("{id}");
        } else {
            out.push_str(&String::from_utf8_lossy(segment));
        }
    }
    if cut {
        out.push_str("/*");
    }
    out
}

/// The path of a target: without scheme and authority, which may hold a user's password.
fn path_of(target: &[u8]) -> Option<&[u8]> {
    if target.starts_with(b"/") || target == b"*" {
        return Some(target);
    }
    let scheme = target.windows(3).position(|part| part == b"://")?;
    let rest = &target[scheme + 3..];
    Some(match rest.iter().position(|byte| *byte == b'/') {
        Some(slash) => &rest[slash..],
        None => b"/",
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn path(text: &str) -> String {
        template(text.as_bytes(), false)
    }

    #[test]
    fn changing_parts() {
        assert_eq!(path("GET /users/42/orders"), "/users/{id}/orders");
        assert_eq!(
            path("GET /a/12345678-9abc-def0-1234-56789abcdef0"),
            "/a/{id}"
        );
        assert_eq!(path("GET /"), "/");
        assert_eq!(path("GET /v1/x/"), "/v1/x/");
        assert_eq!(path("OPTIONS *"), "*");
        assert_eq!(template(b"GET /a/b/very-lo", true), "/a/b/*");
        assert_eq!(template(b"GET /very-lo", true), "/*");
    }

    #[test]
    fn nothing_but_the_path() {
        assert_eq!(path("GET /a?token=secret"), "/a");
        assert_eq!(path("GET http://user:secret@host:80/a/7"), "/a/{id}");
        assert_eq!(path("GET http://user:secret@host"), "/");
        assert_eq!(path("CONNECT host:443"), UNKNOWN);
        assert_eq!(template(b"GET http://user:secr", true), "/*");
    }

    proptest! {
        #[test]
        fn whatever_the_kernel_holds(text: Vec<u8>, cut: bool) {
            let path = template(&text, cut);
            prop_assert!(!path.contains('?'));
            prop_assert!(path.starts_with('/') || path == "*" || path == "/*" || path == UNKNOWN);
        }

        #[test]
        fn whatever_a_value_holds(value: Vec<u8>) {
            let _ = RouteName::read(&value);
        }
    }
}
