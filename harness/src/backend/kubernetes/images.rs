//! Which image stands for which program.

use std::collections::BTreeMap;

/// Images by the name of the program in them; what the command line gives comes first.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Images {
    given: BTreeMap<String, String>,
}

/// The programs of this project that there are images of: what `deploy/images/build` makes by itself.
pub const BUILT: [&str; 6] = [
    "target-app",
    "target-app-go",
    "target-app-go-otel",
    "target-app-go-datadog",
    "flora-bench",
    "flora-agent",
];

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

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn what_is_built_is_what_the_script_builds() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let script = std::fs::read_to_string(root.join("deploy/images/build")).unwrap();
        let all = format!("names=({})\n", BUILT.join(" "));
        assert!(script.contains(&all), "{all}");
    }
}
