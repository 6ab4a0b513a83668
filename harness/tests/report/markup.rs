//! As much of an XML and HTML reader as the tests need.

/// Elements that HTML closes by itself.
const VOID: [&str; 6] = ["meta", "br", "hr", "img", "link", "input"];

/// Every element that is opened is closed, in the right order.
pub fn assert_balanced(text: &str) {
    let mut open: Vec<String> = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find('<') {
        rest = &rest[start + 1..];
        if rest.starts_with(['!', '?']) {
            continue;
        }
        let end =
            end_of_tag(rest).unwrap_or_else(|| panic!("tag without an end: {}", excerpt(rest)));
        let (tag, after) = (&rest[..end], &rest[end + 1..]);
        let name: String = tag
            .trim_start_matches('/')
            .chars()
            .take_while(|c| c.is_ascii_alphanumeric())
            .collect();
        assert!(!name.is_empty(), "a bare `<`: {}", excerpt(rest));
        if tag.starts_with('/') {
            assert_eq!(
                open.pop().as_deref(),
                Some(name.as_str()),
                "closed: {}",
                excerpt(rest)
            );
        } else if !tag.ends_with('/') && !VOID.contains(&name.as_str()) {
            open.push(name.clone());
        }
        rest = after;
        // Text of style sheets and scripts is no markup.
        if ["style", "script"].contains(&name.as_str()) && !tag.starts_with('/') {
            rest = &rest[rest.find(&format!("</{name}")).expect("it ends")..];
        }
    }
    assert!(open.is_empty(), "never closed: {open:?}");
}

/// The page without its script, which speaks of numbers that are none.
pub fn without_script(page: &str) -> &str {
    page.split("<script").next().unwrap_or(page)
}

/// The `>` that is not inside a quoted attribute.
fn end_of_tag(tag: &str) -> Option<usize> {
    let mut quote = None;
    tag.char_indices().find_map(|(at, c)| {
        match (c, quote) {
            ('"' | '\'', None) => quote = Some(c),
            (c, Some(q)) if c == q => quote = None,
            ('>', None) => return Some(at),
            _ => {}
        }
        None
    })
}

fn excerpt(text: &str) -> String {
    text.chars().take(60).collect()
}
