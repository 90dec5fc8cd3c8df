//! State that is not trained: averages, counters, centers and queues that a forward moves and a record keeps.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{Debug, Formatter};
use core::mem::take;

use burn::module::{
    Content, Devices, Flag, Module, ModuleDisplay, ModuleDisplayDefault, ModuleMapper, ModuleVisitor, Param, ParamId,
    Parameter,
};
use burn::tensor::kind::Autodiff;
use burn::tensor::{Device, Tensor};
use burn_std::sync::{Arc, Mutex};

/// State of a module that is not trained; PyTorch calls it a buffer.
///
/// It is saved and loaded with the module, under the name of the field, and moved by `to_device`. It never requires a
/// gradient, and what is read of it has none. [`update`](Self::update) does nothing in a module that is in evaluation
/// (`valid()`) or frozen; ask [`moves_on`](Self::moves_on) whether the batch at hand is one of a training.
///
/// Clones of a module share their state, on one device or several, in one thread or several: an update, a loaded record
/// or a move to another device reaches all of them, and of two updates at the same time none is lost. Whether it is
/// frozen is a matter of each clone. `valid()` takes a copy, which costs nothing until one of the two moves. On a GPU, Burn
/// orders the work of each thread by itself: what one thread reads while another updates in place may be half of either, so
/// keep a state there on one thread.
///
/// ```
/// use burn::module::Module;
/// use burn::tensor::{Device, Tensor};
/// use burn_losses::state::State;
///
/// #[derive(Module, Debug)]
/// struct Average {
///     value: State<Tensor<1>>,
/// }
///
/// let average = Average { value: State::new(Tensor::zeros([1], &Device::default())) };
/// average.value.update(|value| value.mul_scalar(0.9).add_scalar(0.1));
/// assert_eq!(average.value.value().into_scalar::<f32>(), 0.1);
///
/// let frozen = average.freeze();
/// frozen.value.update(|value| value.add_scalar(1.0));
/// assert_eq!(frozen.value.value().into_scalar::<f32>(), 0.1);
/// ```
#[derive(Clone)]
pub struct State<V> {
    shared: Arc<Mutex<Shared<V>>>,
    /// One for each tensor of the value.
    ids: Vec<ParamId>,
    training: Param<Flag>,
}

struct Shared<V> {
    /// Taken out while the only owner is written to.
    value: Option<V>,
    /// How often the value has been replaced.
    version: u64,
}

/// What a [`State`] can hold: a tensor, or a struct of tensors that change together.
pub trait StateValue: Clone + Send {
    /// Replaces every tensor by what `mapper` makes of it, always in the same order. The name is that of the tensor in
    /// a record, below the field that holds the state; empty if there is but one tensor.
    fn map_tensors<M: TensorMapper>(self, mapper: &mut M) -> Self;
}

/// Something that is done with every tensor of a [`StateValue`].
pub trait TensorMapper {
    /// Does it with one of them.
    fn tensor<T: Parameter>(&mut self, name: &str, tensor: T) -> T
    where
        Param<T>: Module;
}

impl<const D: usize, K: Autodiff> StateValue for Tensor<D, K>
where
    Self: Parameter,
    Param<Self>: Module,
{
    fn map_tensors<M: TensorMapper>(self, mapper: &mut M) -> Self {
        mapper.tensor("", self)
    }
}

impl<V: StateValue> State<V> {
    /// State that starts with a value.
    pub fn new(value: V) -> Self {
        let mut ids = Vec::new();
        let value = value.map_tensors(&mut Plain).map_tensors(&mut Numbered(&mut ids));

        Self { shared: Shared::of(value), ids, training: Param::from_bool(true) }
    }

    /// What it is now, on the device it is on and without autodiff, so as a constant of any gradient.
    ///
    /// A value that is kept makes the next [`update_in_place`](Self::update_in_place) a copy; take what you need of it
    /// and let it go.
    pub fn value(&self) -> V {
        self.shared.lock().value()
    }

    /// Whether a batch on `device` may move it: one of a training, which is on an autodiff device, and not frozen.
    pub fn moves_on(&self, device: &Device) -> bool {
        device.is_autodiff() && !self.is_frozen()
    }

    /// Whether an update does nothing, because the module is in evaluation or frozen.
    pub fn is_frozen(&self) -> bool {
        !self.training.is_enabled()
    }

    /// Replaces the value by what `next` makes of it; what it was and what it is now. Both are the value as it is where
    /// the module is in evaluation or frozen.
    ///
    /// No lock is held while `next` runs, so it may panic, wait or take its time. If another thread has moved the state
    /// meanwhile, `next` runs again on what that has left.
    pub fn update(&self, next: impl Fn(V) -> V) -> (V, V) {
        loop {
            let (before, version) = {
                let shared = self.shared.lock();
                (shared.value(), shared.version)
            };
            if !self.training.is_enabled() {
                return (before.clone(), before);
            }
            let after = next(before.clone()).map_tensors(&mut Plain);
            let mut shared = self.shared.lock();
            if shared.version == version {
                shared.replace(after.clone());
                return (before, after);
            }
        }
    }

    /// Writes into the value, for one that is too large to copy: `write` is handed the only owner, so that operations
    /// such as `select_assign` change its memory and not a copy. Does nothing where the module is in evaluation or frozen.
    ///
    /// A lock is held meanwhile. So compute what is to be written before, and let `write` be no more than the operation
    /// that writes it: one that waits for another thread may wait for itself, and one that panics leaves no value, which
    /// the next to read it says.
    pub fn update_in_place(&self, write: impl FnOnce(V) -> V) {
        if self.training.is_enabled() {
            let mut shared = self.shared.lock();
            let value = shared.take();
            shared.replace(write(value).map_tensors(&mut Plain));
        }
    }

    /// State of its own that starts with what `first` makes of the value of this; frozen if this is.
    pub fn copy_with(&self, first: impl FnOnce(V) -> V) -> Self {
        let copy = Self::new(first(self.value()));
        Self { training: self.training.clone(), ..copy }
    }
}

impl<V: StateValue> Shared<V> {
    fn of(value: V) -> Arc<Mutex<Self>> {
        Arc::new(Mutex::new(Self { value: Some(value), version: 0 }))
    }

    fn value(&self) -> V {
        self.value.clone().expect(LOST)
    }

    fn take(&mut self) -> V {
        self.value.take().expect(LOST)
    }

    fn replace(&mut self, value: V) {
        self.value = Some(value);
        self.version = self.version.wrapping_add(1);
    }
}

const LOST: &str = "State: the value was lost when an update in place panicked";

impl<V: StateValue> Module for State<V> {
    fn visit<Visitor: ModuleVisitor>(&self, visitor: &mut Visitor) {
        self.value().map_tensors(&mut Visited { ids: &self.ids, visitor });
        visitor.visit_flag(&self.training);
    }

    fn map<Mapper: ModuleMapper>(self, mapper: &mut Mapper) -> Self {
        // Not taken out, so that a mapper that panics leaves it as it is. Locked, so that no update in between is lost.
        let mut shared = self.shared.lock();
        let value = shared.value().map_tensors(&mut Mapped { ids: &self.ids, mapper });
        shared.replace(value.map_tensors(&mut Plain));
        drop(shared);

        Self { training: mapper.map_flag(self.training), ..self }
    }

    fn to_device(self, device: &Device) -> Self {
        let mut shared = self.shared.lock();
        let value = shared.value().map_tensors(&mut Moved(device));
        shared.replace(value);
        drop(shared);
        self
    }

    fn fork(self, device: &Device) -> Self {
        self.to_device(device)
    }

    fn collect_devices(&self, devices: Devices) -> Devices {
        let mut collected = Collected(devices);
        self.value().map_tensors(&mut collected);
        collected.0
    }

    fn materialize(self) -> Self {
        self
    }

    fn valid(&self) -> Self {
        Self { shared: Shared::of(self.value()), ids: self.ids.clone(), training: self.training.valid() }
    }

    fn train(self) -> Self {
        Self { training: self.training.train(), ..self }
    }
}

impl<V: StateValue> Debug for State<V> {
    fn fmt(&self, formatter: &mut Formatter) -> core::fmt::Result {
        let mut shapes = Shapes(Vec::new());
        self.value().map_tensors(&mut shapes);
        write!(formatter, "State {{{}}}", shapes.0.join(", "))
    }
}

impl<V: StateValue> ModuleDisplayDefault for State<V> {
    fn content(&self, content: Content) -> Option<Content> {
        content.add_formatted(&format!("{self:?}")).optional()
    }
}

impl<V: StateValue> ModuleDisplay for State<V> {}

/// Gives every tensor an identity.
struct Numbered<'a>(&'a mut Vec<ParamId>);

impl TensorMapper for Numbered<'_> {
    fn tensor<T: Parameter>(&mut self, _name: &str, tensor: T) -> T
    where
        Param<T>: Module,
    {
        self.0.push(ParamId::new());
        tensor
    }
}

/// Takes autodiff away: a graph would grow with every update.
struct Plain;

impl TensorMapper for Plain {
    fn tensor<T: Parameter>(&mut self, _name: &str, tensor: T) -> T
    where
        Param<T>: Module,
    {
        anonymous(tensor).valid().into_value()
    }
}

struct Moved<'a>(&'a Device);

impl TensorMapper for Moved<'_> {
    fn tensor<T: Parameter>(&mut self, _name: &str, tensor: T) -> T
    where
        Param<T>: Module,
    {
        anonymous(tensor).to_device(self.0).into_value()
    }
}

struct Collected(Devices);

impl TensorMapper for Collected {
    fn tensor<T: Parameter>(&mut self, _name: &str, tensor: T) -> T
    where
        Param<T>: Module,
    {
        let parameter = anonymous(tensor);
        self.0 = parameter.collect_devices(take(&mut self.0));
        parameter.into_value()
    }
}

struct Shapes(Vec<String>);

impl TensorMapper for Shapes {
    fn tensor<T: Parameter>(&mut self, name: &str, tensor: T) -> T
    where
        Param<T>: Module,
    {
        let colon = if name.is_empty() { "" } else { ": " };
        self.0.push(format!("{name}{colon}{:?}", tensor.shape().as_slice()));
        tensor
    }
}

/// Shows every tensor to a visitor as a parameter that is not trained.
struct Visited<'a, V> {
    ids: &'a [ParamId],
    visitor: &'a mut V,
}

impl<V: ModuleVisitor> TensorMapper for Visited<'_, V> {
    fn tensor<T: Parameter>(&mut self, name: &str, tensor: T) -> T
    where
        Param<T>: Module,
    {
        let parameter = Param::initialized(next(&mut self.ids), tensor);
        if name.is_empty() {
            parameter.visit(self.visitor);
        } else {
            self.visitor.enter_module(name, CONTAINER);
            parameter.visit(self.visitor);
            self.visitor.exit_module(name, CONTAINER);
        }
        parameter.into_value()
    }
}

struct Mapped<'a, M> {
    ids: &'a [ParamId],
    mapper: &'a mut M,
}

impl<M: ModuleMapper> TensorMapper for Mapped<'_, M> {
    fn tensor<T: Parameter>(&mut self, name: &str, tensor: T) -> T
    where
        Param<T>: Module,
    {
        let parameter = Param::initialized(next(&mut self.ids), tensor);
        if name.is_empty() {
            return Module::map(parameter, self.mapper).into_value();
        }
        self.mapper.enter_module(name, CONTAINER);
        let parameter = Module::map(parameter, self.mapper);
        self.mapper.exit_module(name, CONTAINER);
        parameter.into_value()
    }
}

const CONTAINER: &str = "Struct:State";

fn next(ids: &mut &[ParamId]) -> ParamId {
    let (first, rest) = ids.split_first().expect("a value has the same tensors every time");
    *ids = rest;
    *first
}

fn anonymous<T: Parameter>(tensor: T) -> Param<T> {
    Param::initialized(ParamId::from(0), tensor)
}
