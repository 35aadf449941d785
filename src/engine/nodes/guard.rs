//! Which addresses HTTP nodes may reach: global ones, and those of `http.allow_networks`.
//!
//! The standard library's predicates pass shared, benchmarking and reserved networks and see
//! through no tunnel, so the lists are here. IPv6 is denied unless it is global unicast; an
//! address that carries an IPv4 address is judged by it. What is asked is the address that is
//! connected to: names are resolved by [`GuardedResolver`], whose answer is used as it is, so a
//! name can't change its mind between check and use.

use std::{
    error::Error as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// IPv4 networks that are not global: the IANA special-purpose registry, multicast, and the
/// address at which Azure serves its machines' secrets.
const V4_NOT_GLOBAL: [Ipv4Net; 16] = [
    v4([0, 0, 0, 0], 8),
    v4([10, 0, 0, 0], 8),
    v4([100, 64, 0, 0], 10),
    v4([127, 0, 0, 0], 8),
    v4([168, 63, 129, 16], 32),
    v4([169, 254, 0, 0], 16),
    v4([172, 16, 0, 0], 12),
    v4([192, 0, 0, 0], 24),
    v4([192, 0, 2, 0], 24),
    v4([192, 88, 99, 0], 24),
    v4([192, 168, 0, 0], 16),
    v4([198, 18, 0, 0], 15),
    v4([198, 51, 100, 0], 24),
    v4([203, 0, 113, 0], 24),
    v4([224, 0, 0, 0], 4),
    v4([240, 0, 0, 0], 4),
];

/// The only IPv6 network with global addresses.
const V6_GLOBAL: Ipv6Net = v6([0x2000, 0, 0, 0], 3);

/// What is not global in it: protocol assignments with Teredo and ORCHID, documentation, 6to4.
const V6_NOT_GLOBAL: [Ipv6Net; 4] = [
    v6([0x2001, 0, 0, 0], 23),
    v6([0x2001, 0xdb8, 0, 0], 32),
    v6([0x2002, 0, 0, 0], 16),
    v6([0x3fff, 0, 0, 0], 20),
];

/// NAT64: the last 32 bits are an IPv4 address.
const NAT64: Ipv6Net = v6([0x64, 0xff9b, 0, 0], 96);

const fn v4(octets: [u8; 4], prefix: u8) -> Ipv4Net {
    let [a, b, c, d] = octets;
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

/// A network whose prefix is in the first half of the address.
const fn v6(segments: [u16; 4], prefix: u8) -> Ipv6Net {
    let [a, b, c, d] = segments;
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0), prefix)
}

/// The rule.
#[derive(Debug, Clone)]
pub(super) struct Guard {
    allowed: Arc<[IpNet]>,
}

impl Guard {
    /// Global addresses, and those in `allowed`.
    pub(super) fn new(allowed: &[IpNet]) -> Self {
        Self {
            allowed: allowed.into(),
        }
    }

    /// Whether this address may be connected to.
    pub(super) fn allows(&self, address: IpAddr) -> bool {
        self.names(address) || is_global(address.to_canonical())
    }

    /// Whether the configuration names this address.
    pub(super) fn names(&self, address: IpAddr) -> bool {
        let plain = address.to_canonical();
        let listed = |net: &IpNet| net.contains(&plain) || net.contains(&address);
        self.allowed.iter().any(listed)
    }

    /// Whether the host of a URL may be asked for: names are checked when they are resolved.
    pub(super) fn allows_host(&self, host: &str) -> bool {
        let literal = host.trim_start_matches('[').trim_end_matches(']');
        literal.parse().map_or(true, |address| self.allows(address))
    }
}

fn is_global(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !V4_NOT_GLOBAL.iter().any(|net| net.contains(&address)),
        IpAddr::V6(address) if NAT64.contains(&address) => {
            let [.., a, b, c, d] = address.octets();
            is_global(IpAddr::from([a, b, c, d]))
        }
        IpAddr::V6(address) => {
            V6_GLOBAL.contains(&address) && !V6_NOT_GLOBAL.iter().any(|net| net.contains(&address))
        }
    }
}

/// Why a name has no address to connect to.
#[derive(Debug, thiserror::Error)]
pub(super) enum ResolveError {
    /// It has addresses, none of them allowed.
    #[error("the name has no address that may be reached")]
    Blocked,
    /// It has none.
    #[error("the name can't be resolved")]
    Unknown(#[source] Option<std::io::Error>),
}

impl ResolveError {
    /// The error among the causes of another one.
    pub(super) fn in_causes_of(error: &reqwest::Error) -> Option<&Self> {
        let mut cause = error.source();
        while let Some(error) = cause {
            if let Some(found) = error.downcast_ref() {
                return Some(found);
            }
            cause = error.source();
        }
        None
    }
}

/// The machine's resolver, without the addresses that may not be reached.
#[derive(Debug)]
pub(super) struct GuardedResolver(pub(super) Guard);

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.0.clone();
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await;
            let found: Vec<SocketAddr> = found
                .map_err(|error| ResolveError::Unknown(Some(error)))?
                .collect();
            if found.is_empty() {
                return Err(ResolveError::Unknown(None).into());
            }
            let allowed = found.into_iter().filter(|found| guard.allows(found.ip()));
            let allowed: Vec<_> = allowed.collect();
            if allowed.is_empty() {
                return Err(ResolveError::Blocked.into());
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(guard: &Guard, address: &str) -> bool {
        guard.allows(address.parse().unwrap())
    }

    const GLOBAL: &[&str] = &[
        "1.1.1.1",
        "8.8.8.8",
        "100.63.255.255",
        "100.128.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "192.0.1.0",
        "198.17.255.255",
        "198.20.0.0",
        "223.255.255.255",
        "::ffff:8.8.8.8",
        "64:ff9b::808:808",
        "2606:4700::1111",
        "2001:4860:4860::8888",
        "2a00::1",
    ];

    const NOT_GLOBAL: &[&str] = &[
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.1",
        "100.64.0.1",
        "100.100.100.200",
        "127.0.0.1",
        "127.255.255.254",
        "168.63.129.16",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.192",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.1.1",
        "198.18.0.1",
        "198.19.255.255",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::8.8.8.8",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::ffff:0:127.0.0.1",
        "64:ff9b::127.0.0.1",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::8.8.8.8",
        "100::1",
        "2001::1",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
        "2001:20::1",
        "2001:db8::1",
        "2002:7f00:1::",
        "2002:808:808::1",
        "3fff::1",
        "5f00::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fec0::1",
        "ff02::1",
    ];

    #[test]
    fn only_global_addresses_are_reached() {
        let guard = Guard::new(&[]);
        for address in GLOBAL {
            assert!(allows(&guard, address), "{address}");
        }
        for address in NOT_GLOBAL {
            assert!(!allows(&guard, address), "{address}");
        }
    }

    #[test]
    fn networks_can_be_allowed() {
        let guard = Guard::new(&["127.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()]);
        for address in ["127.0.0.1", "::ffff:127.0.0.1", "fd00::1", "8.8.8.8"] {
            assert!(allows(&guard, address), "{address}");
        }
        for address in ["::1", "10.0.0.1", "64:ff9b::127.0.0.1", "::127.0.0.1"] {
            assert!(!allows(&guard, address), "{address}");
        }
    }

    #[test]
    fn every_spelling_of_a_literal_is_seen() {
        let guard = Guard::new(&[]);
        for url in [
            "http://127.0.0.1/",
            "http://127.1/",
            "http://2130706433/",
            "http://0x7f000001/",
            "http://0177.0.0.1/",
            "http://0/",
            "http://[::1]/",
            "http://[::ffff:7f00:1]/",
            "http://user@127.0.0.1:80/",
            "http://１２７.0.0.1/",
            "http://127.0.0.1./",
        ] {
            let url: reqwest::Url = url.parse().unwrap();
            assert!(!guard.allows_host(url.host_str().unwrap()), "{url}");
        }
        assert!(guard.allows_host("example.com"));
        assert!(guard.allows_host("8.8.8.8"));
    }
}
