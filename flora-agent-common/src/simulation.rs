//! A connection without a kernel, for tests: the code that runs there, fed with segments.

use std::cell::{Cell, RefCell};
use std::vec::Vec;

use crate::connection::{
    self, Answer, Connection, Deep, Kernel, Next, Scanned, Segment, TEXT_WORDS, phase,
};
use crate::head::{self, Line, Room, Source, WORDS};
use crate::heads::{self, Headed};
use crate::layout::lost;
use crate::machine::WINDOW;

/// How often a kernel program may call another.
const TAIL_CALLS: u32 = 33;

/// A request that was counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    /// Method and path.
    pub text: Vec<u8>,
    /// Status of the answer.
    pub status: u16,
    /// Bytes of the answer, as far as they were seen.
    pub response_bytes: u64,
    /// Bytes of the request.
    pub request_bytes: u64,
    /// Whether the answer's end was seen.
    pub ended: bool,
}

/// A server's side of a connection.
pub struct Simulation {
    connection: Connection,
    deep: Deep,
    sent: [u32; 2],
    routes: RefCell<Vec<(u64, Vec<u8>)>>,
    counted: RefCell<Vec<Counted>>,
    lost: RefCell<[u64; lost::REASONS]>,
    clock: Cell<u64>,
    begins: Cell<Option<u32>>,
    /// How often slots were taken back, and the first route since.
    round: Cell<u16>,
    first: Cell<u16>,
    /// How many segments went byte by byte.
    pub scans: u64,
}

struct InHand<'a> {
    bytes: &'a [u8],
    simulation: &'a Simulation,
}

impl Default for Simulation {
    fn default() -> Self {
        Self::new()
    }
}

impl Simulation {
    /// Nothing sent yet.
    pub fn new() -> Self {
        #[expect(unsafe_code, reason = "the kernel gives such memory too")]
        // SAFETY: both consist of numbers, for which zero is a value.
        let (connection, deep) = unsafe { (core::mem::zeroed(), core::mem::zeroed()) };
        Simulation {
            connection,
            deep,
            // Sequence numbers wrap around soon.
            sent: [u32::MAX - 100, u32::MAX - 1000],
            routes: RefCell::default(),
            counted: RefCell::default(),
            lost: RefCell::default(),
            clock: Cell::new(1),
            begins: Cell::new(Some(u32::MAX - 100)),
            round: Cell::new(0),
            first: Cell::new(0),
            scans: 0,
        }
    }

    /// A connection that was there before anybody looked.
    pub fn attached_late() -> Self {
        let simulation = Self::new();
        simulation.begins.set(None);
        simulation
    }

    /// A segment of the client.
    pub fn request(&mut self, bytes: &[u8]) {
        let sequence = self.sent[0];
        self.sent[0] = sequence.wrapping_add(bytes.len() as u32);
        self.request_at(sequence, bytes);
    }

    /// A segment of the client with this sequence number.
    pub fn request_at(&mut self, sequence: u32, bytes: &[u8]) {
        self.pass(sequence, bytes, true);
        if self.begins.get() == Some(sequence) {
            self.begins.set(None);
        }
    }

    /// Bytes of the client that do not arrive; their sequence number.
    pub fn withhold(&mut self, bytes: usize) -> u32 {
        let sequence = self.sent[0];
        self.sent[0] = sequence.wrapping_add(bytes as u32);
        sequence
    }

    /// A segment of the server.
    pub fn response(&mut self, bytes: &[u8]) {
        let sequence = self.sent[1];
        self.sent[1] = sequence.wrapping_add(bytes.len() as u32);
        self.pass(sequence, bytes, false);
    }

    /// The server closes.
    pub fn close(&mut self) {
        let mut connection = self.connection;
        let kernel = InHand {
            bytes: &[],
            simulation: self,
        };
        connection::closed(&kernel, &mut connection, true);
        self.connection = connection;
    }

    /// All routes and series there are so far are taken back.
    pub fn take_back(&self) {
        self.round.set(self.round.get().wrapping_add(1));
        self.first.set(self.routes.borrow().len() as u16);
    }

    /// What was counted.
    pub fn counted(&self) -> Vec<Counted> {
        self.counted.borrow().clone()
    }

    /// What was lost, by reason.
    pub fn lost(&self, reason: u32) -> u64 {
        self.lost.borrow()[reason as usize]
    }

    fn pass(&mut self, sequence: u32, payload: &[u8], request: bool) {
        // As a packet has headers, offsets do not start at 0.
        const HEADERS: usize = 52;
        let mut bytes = std::vec![0; HEADERS];
        bytes.extend(payload);
        let segment = Segment {
            sequence,
            start: HEADERS as u32,
            length: bytes.len() as u32,
        };
        let (mut connection, mut deep) = (self.connection, self.deep);
        let kernel = InHand {
            bytes: &bytes,
            simulation: self,
        };
        let next = if request {
            connection::requests(&kernel, &mut connection, &segment)
        } else {
            connection::responses(&kernel, &mut connection, &segment)
        };
        let mut scans = 0;
        if let Next::Scan(mut offset) = next {
            let phase_of = |connection: &Connection| {
                if request {
                    connection.rx
                } else {
                    connection.tx
                }
            };
            let mut whole = !matches!(phase_of(&connection), phase::MACHINE | phase::NEW);
            loop {
                scans += 1;
                if scans > TAIL_CALLS {
                    if request {
                        heads::give_up_requests(&kernel, &mut connection);
                    } else {
                        heads::give_up_responses(&kernel, &mut connection, &mut deep);
                    }
                    break;
                }
                if whole {
                    let headed = if request {
                        heads::head_of_request(
                            &kernel,
                            &mut connection,
                            &mut deep,
                            &segment,
                            offset,
                        )
                    } else {
                        heads::head_of_response(
                            &kernel,
                            &mut connection,
                            &mut deep,
                            &segment,
                            offset,
                        )
                    };
                    match headed {
                        Headed::Done => break,
                        Headed::Again(at) => offset = at,
                        Headed::Machine(at) => (whole, offset) = (false, at),
                    }
                    continue;
                }
                let scanned = if request {
                    connection::scan_requests(&kernel, &mut connection, &mut deep, &segment, offset)
                } else {
                    connection::scan_responses(
                        &kernel,
                        &mut connection,
                        &mut deep,
                        &segment,
                        offset,
                    )
                };
                match scanned {
                    Scanned::Done => break,
                    Scanned::Again(at) => {
                        offset = at;
                        whole = !matches!(phase_of(&connection), phase::MACHINE | phase::NEW);
                    }
                }
            }
        }
        self.scans += u64::from(scans > 0);
        self.connection = connection;
        self.deep = deep;
    }
}

impl InHand<'_> {
    fn copy(&self, offset: u32, length: u32, words: &mut [u64]) -> bool {
        let bytes = &self.bytes[offset as usize..][..length as usize];
        for (n, chunk) in bytes.chunks(8).enumerate() {
            let mut word = words[n].to_le_bytes();
            word[..chunk.len()].copy_from_slice(chunk);
            words[n] = u64::from_le_bytes(word);
        }
        true
    }

    fn count(&self, answer: &Answer, ended: bool) {
        let text = if answer.route < self.simulation.first.get() {
            b"_OTHER".to_vec()
        } else {
            let routes = self.simulation.routes.borrow();
            routes[usize::from(answer.route)].1.clone()
        };
        self.simulation.counted.borrow_mut().push(Counted {
            text,
            status: answer.status,
            response_bytes: answer.response_bytes,
            request_bytes: answer.request_bytes,
            ended,
        });
    }
}

impl Source for InHand<'_> {
    fn window(&self, offset: u32, length: u32, window: &mut [u64; WORDS]) -> bool {
        self.copy(offset, length, window)
    }

    fn blank<'a>(&self, room: &'a mut Room) -> &'a mut [u64; WORDS] {
        room.write(head::stale())
    }

    fn forget(&self, value: u64) -> u64 {
        value
    }
}

impl Kernel for InHand<'_> {
    fn begins(&self) -> Option<u32> {
        self.simulation.begins.get()
    }

    fn now(&self) -> u64 {
        let clock = &self.simulation.clock;
        clock.set(clock.get() + 1);
        clock.get()
    }

    fn sent(&self) -> u64 {
        self.now()
    }

    fn known_route(&self, hash: u64) -> Option<u16> {
        let routes = self.simulation.routes.borrow();
        let first = usize::from(self.simulation.first.get());
        let mut known = routes.iter().skip(first);
        known
            .position(|(h, _)| *h == hash)
            .map(|n| (first + n) as u16)
    }

    fn route(&self, text: &[u64; TEXT_WORDS], line: &Line, _cut: bool) -> u16 {
        let bytes = text.iter().flat_map(|word| word.to_le_bytes());
        let text = bytes.take(line.length as usize).collect();
        let mut routes = self.simulation.routes.borrow_mut();
        routes.push((line.hash, text));
        routes.len() as u16 - 1
    }

    fn series(&self, _container: u16, route: u16, _status: u16) -> u16 {
        route
    }

    fn is_series(&self, series: u16, _container: u16, route: u16, _status: u16) -> bool {
        series == route && route >= self.simulation.first.get()
    }

    fn round(&self) -> u16 {
        self.simulation.round.get()
    }

    fn single(&self, _series: u16, answer: &Answer, _now: u64) {
        self.count(answer, true);
    }

    fn first(&self, _series: u16, answer: &Answer, _now: u64) {
        self.count(answer, false);
    }

    fn bytes(&self, _series: u16, bytes: u64) {
        let mut counted = self.simulation.counted.borrow_mut();
        counted.last_mut().expect("one is under way").response_bytes += bytes;
    }

    fn last(&self, _series: u16, answer: &Answer, _first: u64, uncounted: u64, _now: u64) {
        let mut counted = self.simulation.counted.borrow_mut();
        let last = counted.last_mut().expect("one is under way");
        last.ended = true;
        last.response_bytes += uncounted;
        assert_eq!(last.response_bytes, answer.response_bytes);
    }

    fn lost(&self, reason: u32) {
        self.simulation.lost.borrow_mut()[reason as usize] += 1;
    }

    fn all_lost(&self, reason: u32, times: u64) {
        self.simulation.lost.borrow_mut()[reason as usize] += times;
    }

    fn some(&self, offset: u32, length: u32, words: &mut [u64; WINDOW]) -> bool {
        self.copy(offset, length, words)
    }

    fn opaque(&self, counter: u32) -> u32 {
        counter
    }
}
