//! The nodes of the standard, as the library serves them, and those of their methods that it does not know: `ConditionRefresh`.

use std::sync::Arc;

use async_trait::async_trait;
use opcua::{
    server::{
        CreateMonitoredItem,
        address_space::AddressSpace,
        diagnostics::NamespaceMetadata,
        node_manager::{
            MethodCall, MonitoredItemRef, MonitoredItemUpdateRef, ParsedReadValueId, RequestContext, ServerContext,
            memory::{
                CoreNodeManagerBuilder, CoreNodeManagerImpl, InMemoryNodeManagerImpl, InMemoryNodeManagerImplBuilder,
            },
        },
    },
    sync::RwLock,
    types::{DataValue, MethodId, MonitoringMode, StatusCode, TimestampsToReturn, Variant},
};

use crate::refresh::Refreshes;

/// Makes the manager of the standard's nodes.
pub(crate) struct StandardBuilder(pub(crate) Arc<Refreshes>);

/// The library's manager of the standard's nodes, with methods of ours.
pub(crate) struct Standard {
    library: CoreNodeManagerImpl,
    refreshes: Arc<Refreshes>,
}

impl InMemoryNodeManagerImplBuilder for StandardBuilder {
    type Impl = Standard;

    fn build(self, context: ServerContext, address_space: &mut AddressSpace) -> Standard {
        Standard { library: CoreNodeManagerBuilder.build(context, address_space), refreshes: self.0 }
    }
}

impl Standard {
    /// Notes that a client wants to be told all alarms that stand (OPC UA Part 9 §5.5.7 and §5.5.8). They are told in the next round.
    fn refresh(&self, context: &RequestContext, arguments: &[Variant]) -> StatusCode {
        let (subscription, item) = match arguments {
            [Variant::UInt32(subscription)] => (*subscription, None),
            [Variant::UInt32(subscription), Variant::UInt32(item)] => (*subscription, Some(*item)),
            _ => return StatusCode::BadInvalidArgument,
        };
        let Some(own) = context.subscriptions.get_session_subscriptions(context.session_id) else {
            return StatusCode::BadSubscriptionIdInvalid;
        };
        let own = own.lock();
        match (own.get(subscription), item) {
            (None, _) => StatusCode::BadSubscriptionIdInvalid,
            (Some(known), Some(item)) if known.get(&item).is_none() => StatusCode::BadMonitoredItemIdInvalid,
            (Some(_), _) if self.refreshes.ask(subscription, item) => StatusCode::Good,
            (Some(_), _) => StatusCode::BadRefreshInProgress,
        }
    }
}

/// Whether it is one of the methods by which clients ask for the alarms that stand.
fn is_refresh(call: &MethodCall) -> bool {
    let refreshes = [MethodId::ConditionType_ConditionRefresh, MethodId::ConditionType_ConditionRefresh2];
    call.method_id().as_method_id().is_ok_and(|method| refreshes.contains(&method))
}

#[async_trait]
impl InMemoryNodeManagerImpl for Standard {
    async fn init(&self, address_space: &mut AddressSpace, context: ServerContext) {
        self.library.init(address_space, context).await;
    }

    fn name(&self) -> &str {
        self.library.name()
    }

    fn namespaces(&self) -> Vec<NamespaceMetadata> {
        self.library.namespaces()
    }

    async fn read_values(
        &self,
        context: &RequestContext,
        address_space: &RwLock<AddressSpace>,
        nodes: &[&ParsedReadValueId],
        max_age: f64,
        times: TimestampsToReturn,
    ) -> Vec<DataValue> {
        self.library.read_values(context, address_space, nodes, max_age, times).await
    }

    async fn call(
        &self,
        context: &RequestContext,
        address_space: &RwLock<AddressSpace>,
        calls: &mut [&mut &mut MethodCall],
    ) -> Result<(), StatusCode> {
        for call in calls {
            if is_refresh(call) {
                let status = self.refresh(context, call.arguments());
                call.set_status(status);
            } else {
                self.library.call(context, address_space, std::slice::from_mut(call)).await?;
            }
        }
        Ok(())
    }

    async fn create_value_monitored_items(
        &self,
        context: &RequestContext,
        address_space: &RwLock<AddressSpace>,
        items: &mut [&mut &mut CreateMonitoredItem],
    ) {
        self.library.create_value_monitored_items(context, address_space, items).await;
    }

    async fn set_monitoring_mode(&self, context: &RequestContext, mode: MonitoringMode, items: &[&MonitoredItemRef]) {
        self.library.set_monitoring_mode(context, mode, items).await;
    }

    async fn modify_monitored_items(&self, context: &RequestContext, items: &[&MonitoredItemUpdateRef]) {
        self.library.modify_monitored_items(context, items).await;
    }

    async fn delete_monitored_items(&self, context: &RequestContext, items: &[&MonitoredItemRef]) {
        self.library.delete_monitored_items(context, items).await;
    }
}
