//! Routes, their changing parts taken out.

use flora_agent_common::layout::{OTHER, Route, route_parts};
use flora_agent_common::method;
use flora_agent_common::template::{TEXT_BYTES, segment_is_identifier};
use std::mem::offset_of;

use crate::bpf::map::{Entries, Map, MapError};

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

/// The routes that kernel programs have seen. One that has a name keeps it until its slot is another's.
#[derive(Debug, Default)]
pub struct Routes {
    /// By slot: how often it was another's before, and the route's name.
    names: Vec<Option<(u16, RouteName)>>,
}

impl Routes {
    /// Reads those that are new.
    ///
    /// # Errors
    /// When the map can't be read.
    pub fn refresh(&mut self, map: &Map) -> Result<(), MapError> {
        self.read(&map.entries()?);
        Ok(())
    }

    fn read(&mut self, entries: &Entries) {
        for (index, value) in entries.values().enumerate() {
            if self.names.len() <= index {
                self.names.push(None);
            }
            let generation = generation(value);
            let known = self.names[index].as_ref();
            if known.is_none_or(|(of, _)| *of != generation)
                && index != usize::from(OTHER)
                && let Some(name) = RouteName::read(value)
            {
                self.names[index] = Some((generation, name));
            }
        }
    }

    /// A route by its number, if it is known by now.
    pub fn get(&self, number: u16) -> Option<&RouteName> {
        let (slot, generation) = route_parts(number);
        let (of, name) = self.names.get(usize::from(slot))?.as_ref()?;
        (*of == generation).then_some(name)
    }

    /// A route by its number.
    pub fn name(&self, number: u16) -> RouteName {
        self.get(number).cloned().unwrap_or_else(RouteName::other)
    }
}

/// How often a slot was another route's before.
pub fn generation(value: &[u8]) -> u16 {
    let at = offset_of!(Route, generation);
    let bytes = value
        .get(at..at + 2)
        .and_then(|bytes| bytes.try_into().ok());
    bytes.map_or(0, u16::from_ne_bytes)
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
    use flora_agent_common::layout::route_number;
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

    /// A slot that is given to another route has another name, under another number.
    #[test]
    fn names_by_number() {
        let value = |path: &str, generation: u16, ready: u8| {
            let mut value = vec![0; size_of::<Route>()];
            value[offset_of!(Route, method)] = method::GET;
            value[offset_of!(Route, length)] = path.len() as u8;
            value[offset_of!(Route, ready)] = ready;
            let at = offset_of!(Route, generation);
            value[at..at + 2].copy_from_slice(&generation.to_ne_bytes());
            let at = offset_of!(Route, text);
            value[at..at + path.len()].copy_from_slice(path.as_bytes());
            value
        };
        let entries = |second: Vec<u8>| {
            let values = [value("", 0, 0), second].into_iter().enumerate();
            Entries::example(
                values.map(|(key, value)| ((key as u32).to_ne_bytes().to_vec(), value)),
            )
        };
        let name = |routes: &Routes, number| routes.get(number).map(|name| name.path.clone());
        let mut routes = Routes::default();
        let [first, second] = [0, 1].map(|generation| route_number(1, generation));
        routes.read(&entries(value("GET /a", 0, 1)));
        assert_eq!(name(&routes, first), Some("/a".to_owned()));
        // Free, and nobody's yet.
        routes.read(&entries(value("", 1, 0)));
        assert_eq!(name(&routes, first), Some("/a".to_owned()));
        assert_eq!(name(&routes, second), None);
        routes.read(&entries(value("GET /b", 1, 1)));
        assert_eq!(name(&routes, first), None);
        assert_eq!(name(&routes, second), Some("/b".to_owned()));
        assert_eq!(routes.name(OTHER), RouteName::other());
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
