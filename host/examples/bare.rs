#![allow(warnings, clippy::all)]
use std::pin::Pin; use std::sync::Arc; use std::task::*; use std::time::*;
use http_body_util::BodyExt;
use wasmtime::component::*; use wasmtime::*;
use wasmtime_wasi::*; use wasmtime_wasi_http::*; use wasmtime_wasi_http::handler::*;
use wasmtime_wasi_http::p3::bindings::ServicePre;
struct G { t: ResourceTable, w: WasiCtx, h: WasiHttpCtx }
impl WasiView for G { fn ctx(&mut self) -> WasiCtxView<'_> { WasiCtxView { ctx: &mut self.w, table: &mut self.t } } }
impl WasiHttpView for G { fn http(&mut self) -> WasiHttpCtxView<'_> { WasiHttpCtxView { hooks: Default::default(), table: &mut self.t, ctx: &mut self.h } } }
struct St(ServicePre<G>); struct W; struct E;
impl WorkerExpiration for E { fn poll(self: Pin<&mut Self>, _: &mut Context<'_>, _: WorkerStatus, _: Instant) -> Poll<()> { Poll::Pending } }
impl WorkerState for W { type StoreData = G; type RequestData = ();
 fn should_accept_request(&self, c: usize, t: usize) -> ShouldAccept { if t >= 128 { ShouldAccept::Never } else if c >= 16 { ShouldAccept::No } else { ShouldAccept::Yes } }
 fn on_request_start(&self, _: StoreContextMut<'_, G>, _: (), _: GuestTaskId) -> Pin<Box<dyn Future<Output = ()> + 'static + Send + Sync>> { Box::pin(std::future::pending()) }
 fn drop(&self, s: Store<G>, r: Result<(), wasmtime::Error>) { if let Err(e) = r { eprintln!("{e:?}") } } }
impl HandlerState for St { type StoreData = G; type WorkerExpiration = E; type WorkerState = W;
 async fn instantiate(&self) -> Result<handler::Instance<G, E, W>> { let mut s = Store::new(self.0.engine(), G { t: ResourceTable::new(), w: WasiCtx::builder().build(), h: WasiHttpCtx::new() });
  let p = Proxy::P3(self.0.instantiate_async(&mut s).await?); Ok(handler::Instance { store: s, proxy: p, view: WasiHttpView::http, expiration: E, state: W }) } }
#[tokio::main] async fn main() {
 let mut c = Config::new(); c.wasm_component_model_async(true); if std::env::var("POOL").is_ok() { c.allocation_strategy(PoolingAllocationConfig::new()); }
 let e = Engine::new(&c).unwrap(); let mut l = Linker::<G>::new(&e);
 wasmtime_wasi::p2::add_to_linker_async(&mut l).unwrap(); wasmtime_wasi::p3::add_to_linker(&mut l).unwrap(); wasmtime_wasi_http::p3::add_to_linker(&mut l).unwrap();
 let w = std::fs::read(std::env::args().nth(1).unwrap()).unwrap();
 let w = wit_component::ComponentEncoder::default().module(&w).unwrap().adapter("wasi_snapshot_preview1", wasi_preview1_component_adapter_provider::WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER).unwrap().encode().unwrap();
 let h = ProxyHandler::new(St(ServicePre::new(l.instantiate_pre(&wasmtime::component::Component::new(&e, &w).unwrap()).unwrap()).unwrap()));
 let li = tokio::net::TcpListener::bind("127.0.0.1:3222").await.unwrap();
 loop { let (s, _) = li.accept().await.unwrap(); s.set_nodelay(true).unwrap(); let h = h.clone(); tokio::spawn(async move {
  hyper::server::conn::http1::Builder::new().serve_connection(hyper_util::rt::TokioIo::new(s), hyper::service::service_fn(move |mut r: http::Request<hyper::body::Incoming>| { let h = h.clone(); async move {
   let u = format!("http://localhost{}", r.uri().path()).parse().unwrap(); *r.uri_mut() = u;
   h.handle((), r.map(|b| b.map_err(wasmtime_wasi_http::Error::from).boxed_unsync())).await } })).await }); }
}
