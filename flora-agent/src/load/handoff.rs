//! Descriptors from child to parent, each with a line that says what it is.
#![allow(unsafe_code, reason = "a received descriptor is a bare number")]

use std::fmt::Write;
use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg,
    sendmsg, setsockopt, socketpair, sockopt,
};
use nix::sys::time::TimeVal;

/// Descriptors in a message: an object has fewer programs and maps.
const DESCRIPTORS: usize = 64;

/// Bytes of text in a message; of a verifier's log, the end is what counts.
const TEXT_BYTES: usize = 16 * 1024;

/// What a descriptor is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A program.
    Program {
        /// Its name in the object.
        name: String,
        /// How long loading it took.
        load_time: Duration,
    },
    /// A map.
    Map {
        /// Its name in the object.
        name: String,
    },
}

/// What the child says.
#[derive(Debug)]
pub enum Message {
    /// The object is loaded once more: its hash, and what is in it.
    Copy(String, Vec<(Item, OwnedFd)>),
    /// It may not call `bpf()`.
    Refused(String),
    /// The object can't be loaded.
    Failed(String),
}

/// Two ends; reading from one gives up after a while.
///
/// # Errors
/// When the kernel has none to give.
pub fn channel(patience: Duration) -> nix::Result<(OwnedFd, OwnedFd)> {
    let (ours, theirs) = socketpair(
        AddressFamily::Unix,
        SockType::SeqPacket,
        None,
        SockFlag::SOCK_CLOEXEC,
    )?;
    let patience = TimeVal::new(patience.as_secs() as i64, 0);
    setsockopt(&ours, sockopt::ReceiveTimeout, &patience)?;
    Ok((ours, theirs))
}

fn send(channel: &OwnedFd, text: &str, descriptors: &[RawFd]) -> nix::Result<()> {
    let control = [ControlMessage::ScmRights(descriptors)];
    let control = if descriptors.is_empty() {
        &[]
    } else {
        &control[..]
    };
    let text = [IoSlice::new(text.as_bytes())];
    sendmsg::<()>(
        channel.as_raw_fd(),
        &text,
        control,
        MsgFlags::MSG_NOSIGNAL,
        None,
    )
    .map(drop)
}

/// Sends the descriptors of a loaded object.
///
/// # Errors
/// When the other end is gone.
pub fn send_copy(channel: &OwnedFd, hash: &str, items: &[(Item, BorrowedFd)]) -> nix::Result<()> {
    let mut text = format!("copy\n{hash}\n");
    let mut descriptors = Vec::with_capacity(items.len());
    for (item, descriptor) in items {
        let line = match item {
            Item::Program { name, load_time } => {
                writeln!(text, "program {name} {}", load_time.as_nanos())
            }
            Item::Map { name } => writeln!(text, "map {name}"),
        };
        line.expect("a string takes all");
        descriptors.push(descriptor.as_raw_fd());
    }
    send(channel, &text, &descriptors)
}

/// Sends why there is none.
///
/// # Errors
/// When the other end is gone.
pub fn send_failure(channel: &OwnedFd, refused: bool, error: &str) -> nix::Result<()> {
    let word = if refused { "refused" } else { "failed" };
    let room = TEXT_BYTES - 16;
    let mut start = error.len().saturating_sub(room);
    while !error.is_char_boundary(start) {
        start += 1;
    }
    send(channel, &format!("{word}\n{}", &error[start..]), &[])
}

/// Waits for a message; none when the other end is gone.
///
/// # Errors
/// When none comes in time, or it is not understood.
pub fn receive(channel: &OwnedFd) -> nix::Result<Option<Message>> {
    let mut text = vec![0; TEXT_BYTES];
    let mut control = nix::cmsg_space!([RawFd; DESCRIPTORS]);
    let mut parts = [IoSliceMut::new(&mut text)];
    let message = recvmsg::<()>(
        channel.as_raw_fd(),
        &mut parts,
        Some(&mut control),
        MsgFlags::MSG_CMSG_CLOEXEC,
    )?;
    let length = message.bytes;
    let mut descriptors = Vec::new();
    for part in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(numbers) = part {
            for number in numbers {
                // SAFETY: the kernel has just made it for this process; nobody else knows it.
                descriptors.push(unsafe { OwnedFd::from_raw_fd(number) });
            }
        }
    }
    let text = String::from_utf8_lossy(&text[..length]);
    let Some((word, rest)) = text.split_once('\n') else {
        return Ok(None);
    };
    Ok(Some(match word {
        "copy" => {
            let (hash, rest) = rest.split_once('\n').ok_or(nix::Error::EBADMSG)?;
            let items: Vec<Item> = rest
                .lines()
                .map(item)
                .collect::<Option<_>>()
                .ok_or(nix::Error::EBADMSG)?;
            if items.len() != descriptors.len() {
                return Err(nix::Error::EBADMSG);
            }
            Message::Copy(
                hash.to_owned(),
                items.into_iter().zip(descriptors).collect(),
            )
        }
        "refused" => Message::Refused(rest.to_owned()),
        "failed" => Message::Failed(rest.to_owned()),
        _ => return Err(nix::Error::EBADMSG),
    }))
}

fn item(line: &str) -> Option<Item> {
    let mut words = line.split(' ');
    let kind = words.next()?;
    let name = words.next()?.to_owned();
    match kind {
        "program" => {
            let load_time = Duration::from_nanos(words.next()?.parse().ok()?);
            Some(Item::Program { name, load_time })
        }
        "map" => Some(Item::Map { name }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn descriptors_arrive_with_their_names() {
        let (ours, theirs) = channel(Duration::from_secs(1)).unwrap();
        let file = tempfile::tempfile().unwrap();
        let items = [
            Item::Program {
                name: "ingress".to_owned(),
                load_time: Duration::from_nanos(7),
            },
            Item::Map {
                name: "SERIES".to_owned(),
            },
        ];
        let sent: Vec<_> = items
            .iter()
            .map(|item| (item.clone(), file.as_fd()))
            .collect();
        send_copy(&theirs, "c0de", &sent).unwrap();
        send_failure(&theirs, false, &"é".repeat(TEXT_BYTES)).unwrap();
        drop(theirs);
        let Some(Message::Copy(hash, received)) = receive(&ours).unwrap() else {
            panic!("a copy was sent");
        };
        assert_eq!(hash, "c0de");
        let names: Vec<_> = received.iter().map(|(item, _)| item.clone()).collect();
        assert_eq!(names, items);
        let Some(Message::Failed(text)) = receive(&ours).unwrap() else {
            panic!("a failure was sent");
        };
        assert!(text.ends_with('é') && text.len() < TEXT_BYTES);
        assert!(receive(&ours).unwrap().is_none());
    }
}
