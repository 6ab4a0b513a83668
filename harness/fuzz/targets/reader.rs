#![no_main]

//! `FUZZ_READER` says which reader; all of them without it.

#[path = "../readers.rs"]
mod readers;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let wanted = std::env::var("FUZZ_READER").ok();
    for (name, read) in readers::ALL {
        if wanted.as_deref().is_none_or(|wanted| wanted == name) {
            read(bytes);
        }
    }
});
