//! Addresses that a component may be connected to.
//!
//! A component sees names only; the host resolves them. It checks the resolved addresses and connects to one of them, so a
//! name whose second look-up differs from its first gains nothing. Decimal, octal and short forms of IPv4 addresses are
//! names here: the resolver turns them into addresses, which are checked like any other.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::{Context as _, Result, ensure};
use ipnet::IpNet;

/// A network in the form `10.0.0.0/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Network {
    first: u128,
    mask: u128,
    is_v4: bool,
}

impl Network {
    /// Parses `address/bits`.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let (address, bits) = text.split_once('/').with_context(|| format!("{text:?} is not address/bits"))?;
        let address: IpAddr = address.parse().with_context(|| format!("{text:?} has no address"))?;
        let bits: u32 = bits.parse().with_context(|| format!("{text:?} has no number of bits"))?;
        let (value, is_v4) = value_of(address);
        let width = if is_v4 { 32 } else { 128 };
        ensure!(bits <= width, "{text:?} has more than {width} bits");
        let mask = u128::MAX.checked_shl(width - bits).unwrap_or(0);
        Ok(Self { first: value & mask, mask, is_v4 })
    }

    /// Whether the address is in this network.
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        let (value, is_v4) = value_of(address);
        is_v4 == self.is_v4 && value & self.mask == self.first
    }
}

fn value_of(address: IpAddr) -> (u128, bool) {
    match address {
        IpAddr::V4(address) => (u128::from(address.to_bits()), true),
        IpAddr::V6(address) => (address.to_bits(), false),
    }
}

/// Decides which resolved addresses may be connected to.
#[derive(Debug, Default)]
pub(crate) struct Filter {
    /// Networks that are blocked in addition to those that are not public (`block_networks`).
    pub(crate) blocked: Vec<Network>,
    /// Hosts, in lower case, and ports that may have private addresses (`--allow-private`).
    pub(crate) private: Vec<(String, u16)>,
}

impl Filter {
    /// Those of a host's addresses that may be connected to.
    pub(crate) fn keep(&self, host: &str, port: u16, addresses: impl Iterator<Item = SocketAddr>) -> Vec<SocketAddr> {
        let may_be_private = self.private.iter().any(|(known, at)| known.eq_ignore_ascii_case(host) && *at == port);
        let is_blocked = |ip: IpAddr| {
            let same = [Some(ip), embedded(ip)];
            same.into_iter().flatten().any(|ip| self.blocked.iter().any(|network| network.contains(ip)))
        };
        addresses.filter(|address| (may_be_private || is_public(address.ip())) && !is_blocked(address.ip())).collect()
    }
}

/// Parses `host:port` of `--allow-private`. An IPv6 address is in brackets.
pub(crate) fn parse_private(text: &str) -> Result<(String, u16)> {
    let (host, port) = text.rsplit_once(':').with_context(|| format!("{text:?} is not host:port"))?;
    ensure!(!host.is_empty(), "{text:?} has no host");
    Ok((host.to_ascii_lowercase(), port.parse().with_context(|| format!("{text:?} has no port"))?))
}

/// Parses addresses and networks, separated by commas or blanks, exactly as the components do; `proxies.txt` has what both are tested with.
pub(crate) fn parse_proxies(text: &str) -> Result<Vec<IpNet>> {
    let network = |part: &str| {
        let address = || part.parse::<IpAddr>().map(|address| address.to_canonical().into());
        let network = part.parse().or_else(|_| address());
        network.with_context(|| format!("{part:?} is neither an IP address nor a network such as 10.0.0.0/8"))
    };
    text.trim().split([',', ' ']).filter(|part| !part.is_empty()).map(network).collect()
}

/// Whether an address can be reached from the whole Internet. An IPv6 address that embeds an IPv4 address counts as that one.
pub(crate) fn is_public(ip: IpAddr) -> bool {
    match (ip, embedded(ip)) {
        (_, Some(inner)) => is_public(inner),
        (IpAddr::V4(ip), None) => is_public_v4(ip),
        (IpAddr::V6(ip), None) => is_public_v6(ip),
    }
}

/// Addresses in the special-purpose registry for IPv4 (RFC 6890 and its updates) are not public, and neither is a public
/// address that serves cloud metadata.
fn is_public_v4(ip: Ipv4Addr) -> bool {
    let azure_wire_server = Ipv4Addr::new(168, 63, 129, 16);
    let [a, b, c, _] = ip.octets();
    let is_special = a == 0
        || ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local() // includes the metadata address 169.254.169.254
        || ip.is_documentation()
        || (a == 100 && b & 0xc0 == 64) // carrier-grade NAT
        || (a == 192 && b == 0 && c == 0)
        || (a == 192 && b == 88 && c == 99) // 6to4 relays
        || (a == 198 && b & 0xfe == 18) // benchmarking
        || a >= 224 // multicast, reserved, broadcast
        || ip == azure_wire_server;
    !is_special
}

/// Global unicast is 2000::/3 (RFC 4291, section 2.4), without its special-purpose blocks.
fn is_public_v6(ip: Ipv6Addr) -> bool {
    let [first, second, ..] = ip.segments();
    // 2001::/23: protocols, with Teredo and ORCHID; 2001:db8::/32 and 3fff::/20: documentation.
    let is_special = matches!((first, second), (0x2001, 0..0x0200 | 0x0db8) | (0x3fff, 0..0x1000));
    first & 0xe000 == 0x2000 && !is_special
}

/// The IPv4 address in an IPv6 address: mapped, compatible, NAT64 (RFC 6052) or 6to4 (RFC 3056).
fn embedded(ip: IpAddr) -> Option<IpAddr> {
    let IpAddr::V6(ip) = ip else { return None };
    let inner = match ip.segments() {
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] | [0x0064, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => {
            Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low))
        }
        _ => return None,
    };
    Some(IpAddr::V4(inner))
}

#[cfg(test)]
mod tests {
    use ip_network::IpNetwork;

    use super::*;

    /// Nothing of these is reached.
    const SPECIAL: &[&str] = &[
        "0.0.0.0",
        "10.1.2.3",
        "100.64.0.1",
        "100.100.100.200",
        "127.0.0.1",
        "127.9.9.9",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.192",
        "192.0.2.1",
        "192.168.1.1",
        "198.18.0.1",
        "198.51.100.7",
        "203.0.113.9",
        "224.0.0.1",
        "239.1.1.1",
        "240.0.0.1",
        "255.255.255.255",
        "168.63.129.16",
        "::",
        "::1",
        "::127.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::a9fe:a9fe",
        "::ffff:169.254.169.254",
        "::ffff:a9fe:a9fe",
        "::ffff:100.100.100.200",
        "64:ff9b::a00:1",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b::169.254.169.254",
        "64:ff9b:1::1",
        "64:ff9b:1::a9fe:a9fe",
        "2002:7f00:1::1",
        "2002:a9fe:a9fe::",
        "2002:c0a8:101:1::1",
        "2002:6464:64c8::1",
        "2001:0:7f00:1::",
        "2001:20::1",
        "5f00::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fec0::1",
        "ff02::1",
        "2001::1",
        "2001:db8::1",
        "3fff::1",
        "100::1",
        "4000::1",
    ];

    const PUBLIC: &[&str] = &[
        "1.1.1.1",
        "100.63.0.1",
        "100.128.0.1",
        "172.15.0.1",
        "172.32.0.1",
        "193.0.0.1",
        "223.255.255.1",
        "2606:4700::1111",
        "2001:4860:4860::8888",
        "::ffff:8.8.8.8",
        "64:ff9b::808:808",
        "2002:808:808::1",
    ];

    #[test]
    fn special_purpose_addresses_are_not_public() {
        for address in SPECIAL {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
        for address in PUBLIC {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
    }

    /// R49: what this host refuses, a Spin host refuses that was started with our `runtime-config.toml`. Spin (`BlockedNetworks`) takes
    /// `private` as all that its library does not call global, then leaves networks of the list out that are not global by themselves.
    #[test]
    fn spin_refuses_the_same_addresses() {
        let config: toml::Table = include_str!("../../runtime-config.toml").parse().unwrap();
        let listed = config["outbound_networking"]["block_networks"].as_array().unwrap();
        let listed: Vec<&str> = listed.iter().map(|network| network.as_str().unwrap()).collect();
        assert!(listed.contains(&"private"));
        let networks: Vec<IpNetwork> = listed
            .iter()
            .filter(|network| **network != "private")
            .map(|network| network.parse::<IpNetwork>().unwrap())
            .filter(IpNetwork::is_global)
            .collect();
        let is_blocked =
            |ip: IpAddr| !IpNetwork::from(ip).is_global() || networks.iter().any(|network| network.contains(ip));
        let is_open = |ip: &IpAddr| {
            let inner = if let IpAddr::V6(ip) = ip { ip.to_ipv4() } else { None };
            !is_public(*ip) && !is_blocked(*ip) && !inner.is_some_and(|inner| is_blocked(IpAddr::V4(inner)))
        };
        let named = SPECIAL.iter().map(|address| address.parse().unwrap());
        let every_v4 = (0..1 << 24).map(|network| IpAddr::V4(Ipv4Addr::from_bits(network << 8 | 1)));
        let every_v6 = (0..=u16::MAX).flat_map(|first| {
            [0, 1, 0x1ff, 0x200, 0xdb8, 0xfff, 0x1000, 0xffff]
                .map(|second| IpAddr::V6(Ipv6Addr::new(first, second, 0, 0, 0, 0, 0, 1)))
        });
        let open: Vec<IpAddr> = named.chain(every_v4).chain(every_v6).filter(is_open).take(20).collect();
        assert!(open.is_empty(), "Spin would call {open:?}");
    }

    /// R49: a second answer of the resolver gains nothing: the addresses that were checked are those that are connected to, and one that is
    /// private does not ride with one that is public.
    #[test]
    fn of_several_addresses_only_the_public_ones_are_kept() {
        let all = ["93.184.216.34", "127.0.0.1", "::1", "::ffff:10.0.0.1", "2606:4700::1111", "169.254.169.254"];
        let all = all.map(|ip| SocketAddr::new(ip.parse().unwrap(), 443));
        let kept = Filter::default().keep("rebind.example", 443, all.into_iter());
        assert_eq!(kept, [all[0], all[4]]);
    }

    #[test]
    fn a_network_contains_its_own_addresses_only() {
        let network = Network::parse("10.1.0.0/16").unwrap();
        assert!(network.contains("10.1.255.1".parse().unwrap()));
        assert!(!network.contains("10.2.0.1".parse().unwrap()));
        assert!(!network.contains("::1".parse().unwrap()));
        assert!(Network::parse("0.0.0.0/0").unwrap().contains("9.9.9.9".parse().unwrap()));
        assert!(Network::parse("2001:db8::/32").unwrap().contains("2001:db8:1::1".parse().unwrap()));
        for text in ["10.0.0.0", "10.0.0.0/33", "x/8", "10.0.0.0/x"] {
            assert!(Network::parse(text).is_err(), "{text}");
        }
    }

    /// R317: what the components refuse of `trusted_proxies`, or take from it, the host does too.
    #[test]
    fn host_and_components_read_the_same_proxies() {
        for line in include_str!("../../crates/service/src/settings/proxies.txt").lines() {
            let (value, expected) = line.split_once(" => ").unwrap();
            let read = parse_proxies(&value.replace("TAB", "\t"));
            let read = read.map_or_else(|_| "refused".to_owned(), |read| format!("{read:?}"));
            assert_eq!(read, expected, "{value}");
        }
    }

    #[test]
    fn an_exception_is_for_one_host_and_port_and_not_for_blocked_networks() {
        let filter = Filter {
            blocked: vec![Network::parse("10.0.0.0/8").unwrap()],
            private: vec![parse_private("Mail.test:25").unwrap()],
        };
        let keep = |host: &str, port, ip: &str| {
            !filter.keep(host, port, [SocketAddr::new(ip.parse().unwrap(), port)].into_iter()).is_empty()
        };
        assert!(keep("mail.test", 25, "127.0.0.1"));
        assert!(!keep("mail.test", 26, "127.0.0.1"));
        assert!(!keep("other.test", 25, "127.0.0.1"));
        assert!(!keep("mail.test", 25, "10.0.0.1"));
        assert!(!keep("mail.test", 25, "::ffff:10.0.0.1"));
        assert!(keep("other.test", 443, "1.1.1.1"));
    }
}
