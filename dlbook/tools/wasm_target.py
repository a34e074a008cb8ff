"""A target for Numba, beside the processor: WebAssembly. See `dlbook.tools.wasm`.

Types and lowering are Numba's own, in contexts that derive from the processor's and stand beside
them; a kernel that is compiled here has nothing in common with its form for the processor but its
source. All that depends on how Numba is made inside is in this file.
"""

from functools import cached_property
from weakref import WeakKeyDictionary

import llvmlite.binding as llvm
from llvmlite import ir
from numba.core import (
    callconv,
    cgutils,
    codegen,
    cpu,
    fastmathpass,
    registry,
    target_extension,
    types,
    typing,
)
from numba.core.compiler_lock import global_compiler_lock
from numba.core.descriptors import TargetDescriptor
from numba.core.dispatcher import Dispatcher

from dlbook.tools import jit

__all__ = ["ADDRESS", "RUNTIME", "compiled", "machine"]

NAME, TRIPLE = "dlbook_wasm", "wasm32-unknown-unknown"
FEATURES = "+simd128,+bulk-memory,+bulk-memory-opt,+sign-ext,+nontrapping-fptoint"
ADDRESS = "an address of this process"


def machine():
    """Return what makes WebAssembly of LLVM's code."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    return llvm.Target.from_triple(TRIPLE).create_target_machine(
        cpu="generic", features=FEATURES, opt=3, reloc="static", codemodel="default"
    )


class _Library(codegen.CPUCodeLibrary):
    """Code as it is lowered: LLVM optimizes it once, for WebAssembly, when all is together."""

    def _optimize_functions(self, ll_module):
        pass

    def _optimize_final_module(self):
        pass

    def _finalize_specific(self):
        pass


class _Codegen(codegen.CPUCodegen):
    """LLVM for WebAssembly, without an engine that would run what it writes."""

    _library_class = _Library

    def _init(self, llvm_module):
        self._tm = machine()
        self._tm_features = FEATURES
        self._target_data = self._tm.target_data
        self._data_layout = str(self._target_data)

    def _create_empty_module(self, name):
        module = super()._create_empty_module(name)
        module.triple = TRIPLE
        return module

    def _customize_tm_features(self):
        return FEATURES

    def _customize_tm_options(self, options):
        pass

    def _add_module(self, module):
        pass


class _Convention(callconv.CPUCallConv):
    """Numba's way of calling, in which what is raised is a text, without the place of a file."""

    def set_static_user_exc(self, builder, exc, exc_args=None, loc=None, func_name=None):
        said = [
            str(a).partition("\nFile ")[0] for a in exc_args or () if not isinstance(a, ir.Value)
        ]
        words = ": ".join([exc.__name__ if exc else "error", " … ".join(said)]).removesuffix(": ")
        text = self.context.insert_const_string(builder.module, words)
        builder.store(
            builder.bitcast(text, callconv.excinfo_ptr_t),
            self._get_excinfo_argument(builder.function),
        )

    def set_dynamic_user_exc(self, builder, exc, exc_args, nb_types, loc=None, func_name=None):
        self.set_static_user_exc(builder, exc, exc_args)


class _Context(cpu.CPUContext):
    """What lowers a kernel: the processor's implementations, and nothing that calls Python."""

    allow_dynamic_globals = False

    def init(self):
        self.is32bit = False  # whole numbers have 64 bits, as everywhere in Numba
        self._internal_codegen = _Codegen("dlbook.wasm")

    @property
    def call_conv(self):
        return _Convention(self)

    def load_additional_registries(self):
        registry.cpu_target.target_context.refresh()  # first of all: it starts Numba's runtime
        super().load_additional_registries()

    def post_lowering(self, mod, library):
        if self.fastmath:
            fastmathpass.rewrite_module(mod, self.fastmath)

    def create_cpython_wrapper(self, *_, **__):
        pass

    def create_cfunc_wrapper(self, *_, **__):
        pass

    def add_dynamic_addr(self, builder, intaddr, info):
        """Stand for an address in this process, which nothing can use; of a kernel nothing does."""
        pointer = self.get_value_type(types.voidptr)
        if info in ("CPUDispatcher", _Kernel.__name__):
            return ir.Constant(pointer, None)
        known = builder.module.globals.get(ADDRESS)
        return builder.load(known or cgutils.add_global_variable(builder.module, pointer, ADDRESS))

    def get_executable(self, library, fndesc, env):
        return object()  # what Numba knows a compiled kernel by; nobody calls it


class _Typing(typing.Context):
    """What finds the types in a kernel; a kernel that it calls becomes one of this target."""

    def resolve_value_type(self, val):
        return super().resolve_value_type(_twin(val) if isinstance(val, Dispatcher) else val)


class _Descriptor(TargetDescriptor):
    options = cpu.CPUTargetOptions

    @cached_property
    def typing_context(self):
        return _Typing()

    @cached_property
    def target_context(self):
        return _Context(self.typing_context, NAME)


class _Kernel(Dispatcher):
    """A kernel as this target compiles it."""

    targetdescr = _Descriptor(NAME)

    def add_overload(self, cres):
        self.overloads[tuple(cres.signature.args)] = cres  # and nothing that Python could call


class _Wasm(target_extension.CPU):
    """The target in Numba's hierarchy: what works on the processor, works here."""


def _decorated(function=None, **options):
    """Compile what Numba's implementations consist of."""
    if function is None:
        return lambda f: _decorated(f, **options)
    options = {k: v for k, v in options.items() if k not in ("cache", "pipeline_class")}
    return _Kernel(function, targetoptions={"nopython": True} | options)


_twins = WeakKeyDictionary()


def _twin(kernel):
    """Return a kernel's form for this target."""
    if isinstance(kernel, _Kernel):
        return kernel
    if kernel not in _twins:
        options = {k: v for k, v in kernel.targetoptions.items() if k != "parallel"}
        checked = {"boundscheck": True}  # indices are the reader's
        _twins[kernel] = _Kernel(kernel.py_func, kernel.locals, options | checked)
    return _twins[kernel]


def _registered():
    """Make the target known to Numba, which adds to its lists and changes nothing that is there."""
    if NAME not in target_extension.target_registry:
        jit._shorten_message()
        target_extension.target_registry[NAME] = _Wasm
        target_extension.dispatcher_registry[_Wasm] = _Kernel
        target_extension.jit_registry[_Wasm] = _decorated


def compiled(kernel, types_in):
    """Return LLVM's code of a kernel and all it calls, its symbol in it, and its signature."""
    _registered()
    with target_extension.target_override(NAME), global_compiler_lock:
        twin = _twin(kernel)
        twin.compile(types_in)
        found = twin.overloads[types_in]
        found.library._ensure_finalized()
        return str(found.library._final_module), found.fndesc.mangled_name, found.signature


# Memory in WebAssembly: one array of bytes, taken from the bottom to the top, and given back as a
# whole by the caller. Numba's counts of references therefore have nothing to do. `__multi3` is what
# LLVM calls for a product of 128 bits, which only asks whether the size of an array overflows.
RUNTIME = """
@top = internal global i32 0
declare i32 @llvm.wasm.memory.size.i32(i32)
declare i32 @llvm.wasm.memory.grow.i32(i32, i32)
declare void @llvm.trap()

define void @reset(i32 %to) {
  store i32 %to, ptr @top
  ret void
}

define i32 @room(i32 %size) {
  %old = load i32, ptr @top
  %more = add i32 %old, 63
  %at = and i32 %more, -64
  %end = add i32 %at, %size
  store i32 %end, ptr @top
  %short = icmp ult i32 %end, %at
  br i1 %short, label %none, label %look
look:
  %last = add i32 %end, 65535
  %wanted = lshr i32 %last, 16
  %have = call i32 @llvm.wasm.memory.size.i32(i32 0)
  %enough = icmp ule i32 %wanted, %have
  br i1 %enough, label %done, label %grow
grow:
  %pages = sub i32 %wanted, %have
  %grown = call i32 @llvm.wasm.memory.grow.i32(i32 0, i32 %pages)
  %failed = icmp eq i32 %grown, -1
  br i1 %failed, label %none, label %done
none:
  call void @llvm.trap()
  unreachable
done:
  ret i32 %at
}

define ptr @NRT_MemInfo_alloc_aligned(i64 %size, i32 %align) {
  %large = icmp ugt i64 %size, 2147483648
  br i1 %large, label %none, label %small
none:
  call void @llvm.trap()
  unreachable
small:
  %bytes = trunc i64 %size to i32
  %all = add i32 %bytes, 64
  %at = call i32 @room(i32 %all)
  %info = inttoptr i32 %at to ptr
  store i64 1, ptr %info
  %destructor = getelementptr i8, ptr %info, i32 8
  store i64 0, ptr %destructor
  %begin = add i32 %at, 64
  %data = inttoptr i32 %begin to ptr
  %where = getelementptr i8, ptr %info, i32 16
  store ptr %data, ptr %where
  %count = getelementptr i8, ptr %info, i32 24
  store i64 %size, ptr %count
  ret ptr %info
}

define ptr @NRT_MemInfo_alloc_safe_aligned(i64 %size, i32 %align) {
  %info = call ptr @NRT_MemInfo_alloc_aligned(i64 %size, i32 %align)
  ret ptr %info
}

define ptr @NRT_MemInfo_data_fast(ptr %info) alwaysinline {
  %where = getelementptr i8, ptr %info, i32 16
  %data = load ptr, ptr %where
  ret ptr %data
}

define ptr @NRT_Allocate(i64 %size) {
  %bytes = trunc i64 %size to i32
  %at = call i32 @room(i32 %bytes)
  %data = inttoptr i32 %at to ptr
  ret ptr %data
}

define void @NRT_incref(ptr %info) alwaysinline { ret void }
define void @NRT_decref(ptr %info) alwaysinline { ret void }
define void @NRT_Free(ptr %data) alwaysinline { ret void }

define void @__multi3(ptr %out, i64 %a, i64 %ah, i64 %b, i64 %bh) noinline optnone {
  %a0 = and i64 %a, 4294967295
  %a1 = lshr i64 %a, 32
  %b0 = and i64 %b, 4294967295
  %b1 = lshr i64 %b, 32
  %p00 = mul i64 %a0, %b0
  %p01 = mul i64 %a0, %b1
  %p10 = mul i64 %a1, %b0
  %p11 = mul i64 %a1, %b1
  %c0 = lshr i64 %p00, 32
  %m0 = and i64 %p01, 4294967295
  %m1 = and i64 %p10, 4294967295
  %s0 = add i64 %c0, %m0
  %s = add i64 %s0, %m1
  %low = mul i64 %a, %b
  %c1 = lshr i64 %s, 32
  %h0 = lshr i64 %p01, 32
  %h1 = lshr i64 %p10, 32
  %t0 = add i64 %p11, %c1
  %t1 = add i64 %t0, %h0
  %t2 = add i64 %t1, %h1
  %x0 = mul i64 %a, %bh
  %x1 = mul i64 %ah, %b
  %t3 = add i64 %t2, %x0
  %high = add i64 %t3, %x1
  store i64 %low, ptr %out
  %second = getelementptr i8, ptr %out, i32 8
  store i64 %high, ptr %second
  ret void
}

; Numba asks before it calls an array by another shape: 1 where its numbers lie without a gap.
define i32 @numba_attempt_nocopy_reshape(i64 %nd, ptr %dims, ptr %strides, i64 %newnd,
    ptr %newdims, ptr %newstrides, i64 %itemsize, i32 %fortran) {
  br label %old
old:
  %i = phi i64 [ %nd, %0 ], [ %j, %next ]
  %step = phi i64 [ %itemsize, %0 ], [ %larger, %next ]
  %over = icmp eq i64 %i, 0
  br i1 %over, label %new, label %look
look:
  %j = sub i64 %i, 1
  %j32 = trunc i64 %j to i32
  %pd = getelementptr i64, ptr %dims, i32 %j32
  %d = load i64, ptr %pd
  %ps = getelementptr i64, ptr %strides, i32 %j32
  %s = load i64, ptr %ps
  %larger = mul i64 %step, %d
  %dense = icmp eq i64 %s, %step
  %single = icmp ule i64 %d, 1
  %fine = or i1 %dense, %single
  br i1 %fine, label %next, label %refuse
next:
  br label %old
refuse:
  ret i32 0
new:
  %k = phi i64 [ %newnd, %old ], [ %l, %set ]
  %width = phi i64 [ %itemsize, %old ], [ %wider, %set ]
  %end = icmp eq i64 %k, 0
  br i1 %end, label %done, label %set
set:
  %l = sub i64 %k, 1
  %l32 = trunc i64 %l to i32
  %pn = getelementptr i64, ptr %newstrides, i32 %l32
  store i64 %width, ptr %pn
  %pm = getelementptr i64, ptr %newdims, i32 %l32
  %m = load i64, ptr %pm
  %wider = mul i64 %width, %m
  br label %new
done:
  ret i32 1
}

; Lists: what holds their numbers is another array each time they outgrow it.
define ptr @NRT_MemInfo_alloc(i64 %size) {
  %info = call ptr @NRT_MemInfo_alloc_aligned(i64 %size, i32 64)
  ret ptr %info
}

define ptr @NRT_MemInfo_new_varsize_dtor(i64 %size, ptr %destructor) {
  %info = call ptr @NRT_MemInfo_alloc_aligned(i64 %size, i32 64)
  ret ptr %info
}

define ptr @NRT_MemInfo_varsize_realloc(ptr %info, i64 %size) {
  %new = call ptr @NRT_MemInfo_alloc_aligned(i64 %size, i32 64)
  %there = getelementptr i8, ptr %new, i32 16
  %data = load ptr, ptr %there
  %where = getelementptr i8, ptr %info, i32 16
  %old = load ptr, ptr %where
  %count = getelementptr i8, ptr %info, i32 24
  %had = load i64, ptr %count
  %more = icmp ult i64 %had, %size
  %kept = select i1 %more, i64 %had, i64 %size
  call void @llvm.memcpy.p0.p0.i64(ptr %data, ptr %old, i64 %kept, i1 false)
  store ptr %data, ptr %where
  store i64 %size, ptr %count
  ret ptr %data
}

declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
"""
