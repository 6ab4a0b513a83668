//! Which scenarios can run in a cluster, for a run of all of them: what is known without asking one.

use crate::backend::kubernetes::images::Images;
use crate::backend::kubernetes::system;
use crate::plan::LeftOut;
use crate::scenario::library::{Library, LibraryError};
use crate::terminal::say;

/// The names of all scenarios that can. Those that can't are named on standard
/// error, with the reason.
///
/// # Errors
/// When the scenario directory can't be read.
pub fn runnable(library: &Library, images: &Images) -> Result<Vec<String>, LibraryError> {
    let mut names = library.names()?;
    names.retain(|name| {
        let missing = match library.load(name) {
            Ok(arm) => system::missing(&arm, images, variable),
            Err(error) => vec![error.to_string()],
        };
        if !missing.is_empty() {
            say(format_args!("left out: {name}: {}", missing.join("; ")));
        }
        missing.is_empty()
    });
    Ok(names)
}

/// Every scenario that can't and is measured against this baseline, for the record of a run of all.
///
/// # Errors
/// When the scenario directory can't be read.
pub fn unsupported(
    library: &Library,
    images: &Images,
    baseline: &str,
) -> Result<Vec<LeftOut>, LibraryError> {
    let names = library.names()?.into_iter();
    // One whose file can't be read is nobody's.
    let arms = names.filter_map(|name| Some((library.load(&name).ok()?, name)));
    let left_out = arms.map(|(arm, name)| {
        let missing = system::missing(&arm, images, variable);
        (arm.baseline() == baseline && !missing.is_empty()).then_some(LeftOut {
            name,
            question: arm.question.clone(),
            missing,
        })
    });
    Ok(left_out.flatten().collect())
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_recorded_with_its_baseline() {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in [
            ("baseline", "question: q\n"),
            ("plain", "question: q\n"),
            ("old", "question: why\ntarget: {program: nobodys-app}\n"),
            (
                "other",
                "question: q\nbaseline: plain\ntarget: {program: nobodys-app}\n",
            ),
        ] {
            std::fs::write(directory.path().join(format!("{name}.yaml")), text).unwrap();
        }
        let library = Library::new(directory.path());
        let images = Images::default();
        assert_eq!(runnable(&library, &images).unwrap(), ["baseline", "plain"]);
        let left_out = unsupported(&library, &images, "baseline").unwrap();
        let [old] = &left_out[..] else {
            panic!("{left_out:?}");
        };
        assert_eq!((old.name.as_str(), old.question.as_str()), ("old", "why"));
        assert!(old.missing[0].contains("nobodys-app"), "{old:?}");
    }
}
