//! Where a tag is in the address space, from its keys `node` or `path`, as the driver reads them.

use tidegate_driver_opcua::{Address, Namespace, NodeName, Path};

/// From the key `node`: `nsu=urn:plant;s=T1`, `ns=2;i=5`, `i=2258`.
pub(crate) fn of_node(text: &str) -> Option<Address> {
    NodeName::parse(text).ok().map(Address::Node)
}

/// From the key `path`: `/Objects/2:Plant/nsu=urn:plant;T1`; the objects folder is not a part of it here.
pub(crate) fn of_path(text: &str) -> Option<Address> {
    let mut path = Path::parse(text).ok()?;
    if path.absolute && path.steps.first().is_some_and(|step| step.name == "Objects") {
        path.steps.remove(0);
    }
    (!path.steps.is_empty()).then_some(Address::Path(path))
}

/// Every namespace in it.
pub(crate) fn namespaces(address: &Address) -> impl Iterator<Item = &Namespace> {
    let (one, many) = match address {
        Address::Node(node) => (Some(&node.namespace), None),
        Address::Path(path) => (None, Some(path.steps.iter().map(|step| &step.namespace))),
    };
    one.into_iter().chain(many.into_iter().flatten())
}
