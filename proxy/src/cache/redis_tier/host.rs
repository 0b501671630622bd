//! What distinguishes this host from others whose replicas share a Redis.

/// Constant from one start of the system to the next, and different on every host.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The name of this host, and the identifier of this boot. Containers of one host have
/// names of their own; hosts of one name have been started at different times.
pub(super) fn identity() -> Box<str> {
    let system = rustix::system::uname();
    let name = system.nodename().to_string_lossy();
    let boot = std::fs::read_to_string(BOOT_ID).unwrap_or_default();
    format!("{name}/{}", boot.trim_end()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_identified_by_its_name_and_its_boot() {
        let identity = identity();
        let (name, boot) = identity.split_once('/').expect("two parts");
        assert!(!name.is_empty() && boot.len() == 36, "{identity}");
        assert_eq!(identity, super::identity());
    }
}
