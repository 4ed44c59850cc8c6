//! The spellings of one address.

use std::net::{IpAddr, Ipv6Addr};

/// As 16 bytes, IPv4 as IPv4-mapped IPv6: what a keyed mask is made of.
pub(crate) fn bytes(address: IpAddr) -> [u8; 16] {
    as_v6(address).octets()
}

/// Eight groups of four digits.
pub(crate) fn expanded(address: IpAddr) -> String {
    let groups = as_v6(address).segments().map(|group| format!("{group:04x}"));
    groups.join(":")
}

/// The IPv4 address inside, where there is one.
pub(crate) fn dotted(address: IpAddr) -> Option<String> {
    as_v6(address).to_ipv4_mapped().map(|address| address.to_string())
}

/// How many bytes of a spelling tell one canary's address from all others: those of IPv6 differ in their first four groups.
pub(crate) fn telling_bytes(address: IpAddr) -> usize {
    if dotted(address).is_some() { usize::MAX } else { 19 }
}

fn as_v6(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}
