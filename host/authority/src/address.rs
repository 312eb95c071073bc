//! Addresses that only a literal grant opens.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether `ip` is one that a component reaches only when it was named literally: link-local addresses, and
/// the addresses at which clouds serve a machine its credentials.
///
/// | address | what is there |
/// |---|---|
/// | 169.254.0.0/16, fe80::/10 | link-local; metadata service of most clouds |
/// | fd00:ec2::254, fd20:ce::254 | metadata service over IPv6 (AWS, Google) |
/// | 100.100.100.200, 192.0.0.192 | metadata service (Alibaba, Oracle) |
///
/// The same IPv4 addresses written in IPv6 (mapped, compatible, NAT64, 6to4) count as themselves.
pub fn is_guarded(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => is_guarded_v4(v4),
        IpAddr::V6(v6) => {
            v6.is_unicast_link_local()
                || METADATA_V6.contains(&v6)
                || embedded_v4(v6).is_some_and(is_guarded_v4)
        }
    }
}

const METADATA_V4: [Ipv4Addr; 2] = [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(192, 0, 0, 192)];

const METADATA_V6: [Ipv6Addr; 2] = [
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
];

fn is_guarded_v4(v4: Ipv4Addr) -> bool {
    v4.is_link_local() || METADATA_V4.contains(&v4)
}

fn embedded_v4(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    let segments = v6.segments();
    let v4 = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match segments {
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] => Some(v4(high, low)),
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some(v4(high, low)),
        [0x2002, high, low, ..] => Some(v4(high, low)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_local_and_metadata_addresses_are_guarded_in_every_spelling() {
        for guarded in [
            "169.254.169.254",
            "169.254.0.1",
            "100.100.100.200",
            "192.0.0.192",
            "fe80::1",
            "febf::1",
            "fd00:ec2::254",
            "fd20:ce::254",
            "::ffff:169.254.169.254",
            "::169.254.169.254",
            "64:ff9b::169.254.169.254",
            "2002:a9fe:a9fe::1",
        ] {
            assert!(is_guarded(guarded.parse().unwrap()), "{guarded}");
        }
        for free in [
            "127.0.0.1",
            "::1",
            "10.0.0.1",
            "192.168.1.1",
            "169.253.1.1",
            "fec0::1",
            "fd00::254",
            "::ffff:10.0.0.1",
            "2606:4700::1",
        ] {
            assert!(!is_guarded(free.parse().unwrap()), "{free}");
        }
    }
}
