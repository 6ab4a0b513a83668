//! Which image stands for which program.

use std::collections::BTreeMap;

/// Images by the name of the program in them; what the command line gives comes first.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Images {
    given: BTreeMap<String, String>,
}

/// This program, whose image is also the node observer's and the intake's.
pub const HARNESS: &str = "flora-bench";

impl Images {
    /// With what the command line gives (`--image NAME=REFERENCE`).
    pub fn new(given: BTreeMap<String, String>) -> Self {
        Images { given }
    }

    /// The image of a program of this project: `flora-bench/NAME:VERSION` unless another is given.
    pub fn of(&self, program: &str) -> String {
        let own = concat!(":", env!("CARGO_PKG_VERSION"));
        self.or(program, &format!("flora-bench/{program}{own}"))
    }

    /// What the command line gives for a name, if anything.
    pub fn given(&self, name: &str) -> Option<&str> {
        self.given.get(name).map(String::as_str)
    }

    /// The image of a program of somebody else's: the pinned one unless another is given.
    pub fn or(&self, name: &str, pinned: &str) -> String {
        self.given
            .get(name)
            .cloned()
            .unwrap_or_else(|| pinned.to_owned())
    }
}
