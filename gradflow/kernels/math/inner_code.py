"""The compiler of functions that only other compiled functions call: nothing is finished twice.

Numba optimises every function with all that it calls, and makes machine code of it, before its caller is
compiled, which then does the same with a copy. Here a function that only compiled code calls keeps its
instructions as they are, and the kernel that is called through its address is optimised and
translated as a whole, once.
"""

from __future__ import annotations

from llvmlite.binding import Linkage
from numba import _dynfunc
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import register_pass
from numba.core.typed_passes import NativeLowering


class InnerLibrary(JITCodeLibrary):
    """The instructions of one function, and those of what it calls: never optimised, never run."""

    def add_llvm_module(self, ll_module) -> None:
        """The instructions as they are."""
        self._final_module.link_in(ll_module)

    def finalize(self) -> None:
        """Take the callees' instructions in."""
        self._raise_if_finalized()
        for library in dict.fromkeys(self._linking_libraries):
            self._reload_init.update(library._reload_init)
            self._final_module.link_in(library._get_module_for_linking(), preserve=True)
        for function in self._final_module.functions:
            if not function.is_declaration and function.linkage == Linkage.external:
                function.linkage = "linkonce_odr"
        self._shared_module = self._final_module
        self._finalize_dynamic_globals()
        self._verify_declare_only_symbols()
        self._finalized = True


@register_pass(mutates_CFG=True, analysis_only=False)
class InnerLowering(NativeLowering):
    """Instructions for callers instead of machine code."""

    _name = "inner_lowering"

    def run_pass(self, state):
        """Numba's own, into an `InnerLibrary`."""
        state.library = InnerLibrary(state.targetctx.codegen(), state.func_id.func_qualname)
        state.flags.no_compile = True
        super().run_pass(state)
        lowered = state["cr"]
        fndesc = lowered.fndesc
        # What callers find the instructions by; nothing happens where it is called.
        name = _dynfunc.make_function(
            fndesc.lookup_module(), fndesc.qualname, "", 0, lowered.env, (state.library,)
        )
        state.targetctx.insert_user_function(name, fndesc, [state.library])
        state["cr"] = lowered._replace(cfunc=name)
        return True


class InnerCompiler(CompilerBase):
    """Numba's passes, but the last."""

    def define_pipelines(self):
        """One pipeline, Numba's own with another lowering."""
        manager = DefaultPassBuilder.define_nopython_pipeline(self.state, "inner")
        manager.passes = [
            (InnerLowering, words) if step is NativeLowering else (step, words)
            for step, words in manager.passes
        ]
        manager._finalized = False
        manager.finalize()
        return [manager]
