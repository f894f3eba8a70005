//! The network that an address belongs to, by which guesses are counted and sign-ins are told apart.

use std::net::IpAddr;

/// The network of a client's address: for IPv6 its /64, which belongs to one household as a whole, else the address itself.
pub fn of(address: &str) -> String {
    match address.parse() {
        Ok(IpAddr::V6(v6)) => {
            let [a, b, c, d, ..] = v6.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
        }
        _ => address.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_household_is_one_network() {
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), of("2001:db8:1:2::1"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!((of("192.0.2.7").as_str(), of("").as_str()), ("192.0.2.7", ""));
    }
}
