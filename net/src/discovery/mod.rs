//! How clients find this appliance without being told. The rule: it is off unless the configuration asks for it, and no
//! trouble of it keeps anybody from being served.

pub mod dns_sd;
