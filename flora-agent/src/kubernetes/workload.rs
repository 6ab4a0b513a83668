//! What a pod belongs to, as its name tells.
//!
//! Controllers name their pods by rules that the API server does not need to
//! be asked for:
//!
//! | name of the pod | made by | workload |
//! |---|---|---|
//! | `NAME-<hash>-<5>` | a ReplicaSet of a Deployment | `NAME` |
//! | `NAME-<8 digits>-<5>` | a Job of a CronJob (the minute it was due) | `NAME` |
//! | `NAME-<5>` | a DaemonSet, a Job, a ReplicaSet | `NAME` |
//! | `NAME-<ordinal>` | a StatefulSet | `NAME` |
//! | anything else | nobody, or the kubelet | not told |
//!
//! `<5>` are five characters of Kubernetes' random alphabet, which has no
//! vowels and no 0, 1, 3 (`k8s.io/apimachinery/pkg/util/rand`). `<hash>` is a
//! number of 32 bits whose decimal digits are written in that alphabet, so that
//! only ten of its characters can occur.
//!
//! A pod that was named by hand can look like one of these (`test-https`), and a
//! name that was cut to fit into 63 characters looks like none.

/// Characters that random names consist of.
const RANDOM: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// Those that the digits of a hash are written in.
const HASH: &[u8] = b"456789bcdf";

/// How many random characters a pod's name ends with.
const SUFFIX: usize = 5;

/// The workload, if the name tells.
pub fn of(pod: &str) -> Option<&str> {
    let (name, last) = split(pod)?;
    if is_ordinal(last) {
        return Some(name);
    }
    if last.len() != SUFFIX || !consists_of(last, RANDOM) {
        return None;
    }
    match split(name) {
        Some((name, hash)) if is_hash(hash) || is_minute(hash) => Some(name),
        _ => Some(name),
    }
}

fn split(name: &str) -> Option<(&str, &str)> {
    let (name, last) = name.rsplit_once('-')?;
    (!name.is_empty() && !last.is_empty()).then_some((name, last))
}

fn consists_of(text: &str, alphabet: &[u8]) -> bool {
    text.bytes().all(|byte| alphabet.contains(&byte))
}

/// A number of 32 bits has up to ten digits, and in all but 1 of 40,000 cases six or more.
fn is_hash(text: &str) -> bool {
    (6..=10).contains(&text.len()) && consists_of(text, HASH)
}

/// Minutes since 1970: eight digits from 1989 to 2160.
fn is_minute(text: &str) -> bool {
    text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_ordinal(text: &str) -> bool {
    let number = text.len() <= 4 && text.bytes().all(|byte| byte.is_ascii_digit());
    number && (text == "0" || !text.starts_with('0'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_and_workloads() {
        for (pod, workload) in [
            // Deployments.
            ("coredns-7f757457c5-89228", Some("coredns")),
            ("cart-service-6b8f9d4c7-x2vbn", Some("cart-service")),
            // A DaemonSet, and Jobs.
            ("kube-proxy-8xk2p", Some("kube-proxy")),
            ("migrate-zz5bt", Some("migrate")),
            ("backup-29401234-q7wlk", Some("backup")),
            // StatefulSets.
            ("postgres-0", Some("postgres")),
            ("kafka-broker-12", Some("kafka-broker")),
            // Nobody's.
            ("debug", None),
            ("my-nginx", None),
            ("kube-apiserver-control", None),
            ("release-007", None),
            ("v-20240131", None),
            ("-0", None),
            ("x-", None),
            ("", None),
        ] {
            assert_eq!(of(pod), workload, "{pod}");
        }
    }

    #[test]
    fn a_hash_is_a_number_in_the_random_alphabet() {
        // As `rand.SafeEncodeString` writes digits.
        let mut written: Vec<_> = (b'0'..=b'9')
            .map(|digit| RANDOM[usize::from(digit) % RANDOM.len()])
            .collect();
        written.sort_unstable();
        assert_eq!(written, HASH);
    }

    proptest! {
        /// Every pod of a Deployment is told, whatever the hash and the suffix.
        #[test]
        fn deployments(name in "[a-z]([a-z0-9-]{0,20}[a-z0-9])?", hash in 100_000u32.., suffix in "[bcdfghjklmnpqrstvwxz2456789]{5}") {
            let hash: String = hash
                .to_string()
                .bytes()
                .map(|digit| char::from(RANDOM[usize::from(digit) % RANDOM.len()]))
                .collect();
            let pod = format!("{name}-{hash}-{suffix}");
            // A suffix of digits alone can't be an ordinal: those are shorter.
            prop_assert_eq!(of(&pod), Some(name.as_str()));
        }

        #[test]
        fn whatever_a_name_is(pod: String) {
            prop_assert!(of(&pod).is_none_or(|name| pod.starts_with(name) && !name.is_empty()));
        }
    }
}
