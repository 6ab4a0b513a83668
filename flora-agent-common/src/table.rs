//! The transitions of [`crate::machine`], as a table: what a byte does in a state.
//!
//! A table and not a `match`, because the kernel's verifier follows every
//! branch of every turn of a loop, and has room for 8,192 that wait.

/// States.
pub mod state {
    /// Before a request.
    pub const START: u8 = 0;
    /// Before a response.
    pub const START_RESPONSE: u8 = 1;
    pub(crate) const METHOD: u8 = 2;
    pub(crate) const TARGET: u8 = 3;
    pub(crate) const QUERY: u8 = 4;
    pub(crate) const VERSION: u8 = 5;
    pub(crate) const VERSION_BREAK: u8 = 6;
    pub(crate) const RESPONSE_VERSION: u8 = 7;
    pub(crate) const STATUS: u8 = 8;
    /// In a line of which nothing is wanted.
    pub(crate) const LINE: u8 = 9;
    pub(crate) const LINE_START: u8 = 10;
    /// In a field's name that starts with C, or T.
    pub(crate) const NAME_C: u8 = 11;
    pub(crate) const NAME_T: u8 = 12;
    pub(crate) const LENGTH: u8 = 13;
    pub(crate) const CODING: u8 = 14;
    pub(crate) const BLANK: u8 = 15;
    pub(crate) const SIZE: u8 = 16;
    pub(crate) const EXTENSION: u8 = 17;
    pub(crate) const TRAILER: u8 = 18;
    pub(crate) const TRAILER_LINE: u8 = 19;
    pub(crate) const TRAILER_BLANK: u8 = 20;
    /// Where the driver skips.
    pub(crate) const BODY: u8 = 21;
    pub(crate) const CHUNK: u8 = 22;
    pub(crate) const CLOSE: u8 = 23;
}

/// What a byte can bring about, beside the next state.
pub(crate) mod event {
    pub const NOT_HTTP: u16 = 1;
    pub const BEGIN: u16 = 2;
    pub const METHOD: u16 = 3;
    pub const VERSION: u16 = 4;
    pub const RESPONSE_VERSION: u16 = 5;
    pub const STATUS: u16 = 6;
    pub const LENGTH_NAME: u16 = 7;
    pub const CODING_NAME: u16 = 8;
    pub const LENGTH: u16 = 9;
    pub const CODING: u16 = 10;
    pub const HEAD: u16 = 11;
    pub const SIZE: u16 = 12;
    pub const END: u16 = 13;
}

/// Bits of an entry that hold the next state.
pub(crate) const NEXT: u16 = 0x1f;
/// The byte goes to the end of the word.
pub(crate) const SHIFT: u16 = 0x20;
/// The byte belongs to the request's text.
pub(crate) const KEEP: u16 = 0x40;
/// The word starts anew.
pub(crate) const RESET: u16 = 0x80;
/// The byte goes to the word in lower case.
pub(crate) const LOWER: u16 = 0x100;
/// Above these bits is the event.
pub(crate) const EVENT_SHIFT: u32 = 10;

const OTHER: usize = 0;
const CR: usize = 1;
const LF: usize = 2;
const SPACE: usize = 3;
const TAB: usize = 4;
const COLON: usize = 5;
const SEMICOLON: usize = 6;
const QUESTION: usize = 7;
const DIGIT: usize = 8;
const HEX: usize = 9;
const C: usize = 10;
const T: usize = 11;
const LETTER: usize = 12;
const DASH: usize = 13;

/// Classes of bytes, with room for a power of two.
const CLASSES: usize = 16;
/// Log of [`CLASSES`].
pub(crate) const CLASS_BITS: u32 = 4;
/// Entries of the table.
pub(crate) const ENTRIES: usize = 32 * CLASSES;

/// The class of each byte. (Its plain name keeps the kernel object the same wherever it is built.)
#[cfg_attr(target_arch = "bpf", unsafe(no_mangle))]
pub(crate) static CLASS: [u8; 256] = classes();

/// Next state, bits and event by state and class.
#[cfg_attr(target_arch = "bpf", unsafe(no_mangle))]
pub(crate) static TABLE: [u16; ENTRIES] = table();

const fn classes() -> [u8; 256] {
    let mut all = [OTHER as u8; 256];
    let mut byte = 0;
    while byte < 256 {
        all[byte] = match byte as u8 {
            b'\r' => CR,
            b'\n' => LF,
            b' ' => SPACE,
            b'\t' => TAB,
            b':' => COLON,
            b';' => SEMICOLON,
            b'?' => QUESTION,
            b'0'..=b'9' => DIGIT,
            b'c' | b'C' => C,
            b't' | b'T' => T,
            b'a'..=b'f' | b'A'..=b'F' => HEX,
            b'a'..=b'z' | b'A'..=b'Z' => LETTER,
            b'-' | b'_' => DASH,
            _ => OTHER,
        } as u8;
        byte += 1;
    }
    all
}

const fn happens(event: u16, next: u8) -> u16 {
    event << EVENT_SHIFT | next as u16
}

const fn table() -> [u16; ENTRIES] {
    let mut all = [happens(event::NOT_HTTP, state::START); ENTRIES];
    let mut class = 0;
    while class < CLASSES {
        let letter = matches!(class, HEX | C | T | LETTER);
        let mut set = Setter(&mut all, class);
        set.to(
            state::START,
            match class {
                CR | LF => state::START as u16,
                _ if letter => happens(event::BEGIN, state::METHOD) | RESET | SHIFT | KEEP,
                _ => happens(event::NOT_HTTP, state::START),
            },
        );
        set.to(
            state::START_RESPONSE,
            match class {
                CR | LF => state::START_RESPONSE as u16,
                _ if letter => happens(event::BEGIN, state::RESPONSE_VERSION) | RESET | SHIFT,
                _ => happens(event::NOT_HTTP, state::START_RESPONSE),
            },
        );
        set.to(
            state::METHOD,
            match class {
                SPACE => happens(event::METHOD, state::TARGET) | KEEP,
                DASH => state::METHOD as u16 | SHIFT | KEEP,
                _ if letter => state::METHOD as u16 | SHIFT | KEEP,
                _ => happens(event::NOT_HTTP, state::START),
            },
        );
        set.to(
            state::TARGET,
            match class {
                SPACE => state::VERSION as u16 | RESET,
                QUESTION => state::QUERY as u16,
                CR | LF => happens(event::NOT_HTTP, state::START),
                _ => state::TARGET as u16 | KEEP,
            },
        );
        set.to(
            state::QUERY,
            match class {
                SPACE => state::VERSION as u16 | RESET,
                CR | LF => happens(event::NOT_HTTP, state::START),
                _ => state::QUERY as u16,
            },
        );
        set.to(
            state::VERSION,
            match class {
                CR => happens(event::VERSION, state::VERSION_BREAK),
                LF => happens(event::VERSION, state::LINE_START),
                SPACE => happens(event::NOT_HTTP, state::START),
                _ => state::VERSION as u16 | SHIFT,
            },
        );
        if class == LF {
            set.to(state::VERSION_BREAK, state::LINE_START as u16);
        }
        set.to(
            state::RESPONSE_VERSION,
            match class {
                SPACE => happens(event::RESPONSE_VERSION, state::STATUS),
                CR | LF => happens(event::NOT_HTTP, state::START),
                _ => state::RESPONSE_VERSION as u16 | SHIFT,
            },
        );
        set.to(
            state::STATUS,
            match class {
                DIGIT => state::STATUS as u16 | SHIFT,
                SPACE | CR => happens(event::STATUS, state::LINE),
                LF => happens(event::STATUS, state::LINE_START),
                _ => happens(event::NOT_HTTP, state::START),
            },
        );
        set.to(
            state::LINE,
            until_break(class, state::LINE, state::LINE_START),
        );
        set.to(
            state::LINE_START,
            match class {
                CR => state::BLANK as u16,
                LF => happens(event::HEAD, state::BODY),
                C => state::NAME_C as u16 | RESET | SHIFT | LOWER,
                // Without its first letter `transfer-encoding` is a word of sixteen.
                T => state::NAME_T as u16 | RESET,
                _ => state::LINE as u16,
            },
        );
        set.to(
            state::NAME_C,
            name(class, state::NAME_C, event::LENGTH_NAME),
        );
        set.to(
            state::NAME_T,
            name(class, state::NAME_T, event::CODING_NAME),
        );
        set.to(
            state::LENGTH,
            match class {
                DIGIT => state::LENGTH as u16 | SHIFT,
                LF => happens(event::LENGTH, state::LINE_START),
                _ => state::LENGTH as u16,
            },
        );
        set.to(
            state::CODING,
            match class {
                LF => happens(event::CODING, state::LINE_START),
                CR | SPACE | TAB => state::CODING as u16,
                _ => state::CODING as u16 | SHIFT | LOWER,
            },
        );
        set.to(
            state::BLANK,
            match class {
                LF => happens(event::HEAD, state::BODY),
                _ => state::LINE as u16,
            },
        );
        set.to(
            state::SIZE,
            match class {
                DIGIT | HEX | C => state::SIZE as u16 | SHIFT,
                LF => happens(event::SIZE, state::CHUNK),
                SEMICOLON => state::EXTENSION as u16,
                CR | SPACE | TAB => state::SIZE as u16,
                _ => happens(event::NOT_HTTP, state::START),
            },
        );
        set.to(
            state::EXTENSION,
            match class {
                LF => happens(event::SIZE, state::CHUNK),
                _ => state::EXTENSION as u16,
            },
        );
        set.to(
            state::TRAILER,
            match class {
                CR => state::TRAILER_BLANK as u16,
                LF => happens(event::END, state::START),
                _ => state::TRAILER_LINE as u16,
            },
        );
        set.to(
            state::TRAILER_LINE,
            until_break(class, state::TRAILER_LINE, state::TRAILER),
        );
        set.to(
            state::TRAILER_BLANK,
            match class {
                LF => happens(event::END, state::START),
                _ => state::TRAILER_LINE as u16,
            },
        );
        class += 1;
    }
    all
}

struct Setter<'a>(&'a mut [u16; ENTRIES], usize);

impl Setter<'_> {
    const fn to(&mut self, state: u8, entry: u16) {
        self.0[state as usize * CLASSES + self.1] = entry;
    }
}

const fn until_break(class: usize, here: u8, next: u8) -> u16 {
    if class == LF {
        next as u16
    } else {
        here as u16
    }
}

const fn name(class: usize, here: u8, event: u16) -> u16 {
    match class {
        COLON => happens(event, state::LINE),
        LF => state::LINE_START as u16,
        _ => here as u16 | SHIFT | LOWER,
    }
}
