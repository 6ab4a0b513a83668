//! What a run shows to people: texts, charts, the page, and the page in a browser.

mod browser;
mod charts;
mod degenerate;
mod files;
mod fixtures;
mod gallery;
mod markup;
mod page;
mod texts;
