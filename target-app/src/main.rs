//! The application under load.
fn main() {}
