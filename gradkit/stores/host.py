"""The store that keeps another one's arrays in host memory."""

from typing import Any

import jax

from gradkit import _checks as check
from gradkit.stores.store import NAMES, Store, With, as_store
from gradkit.typing import StoreLike


def host(store: StoreLike = None) -> Store:
    """Keep what a store keeps in host memory, and nothing of it on the device between steps.

    Encode: encode by ``store``, then copy to pinned host memory (JAX's ``"pinned_host"``). Decode:
    copy to the device, then decode. Every step moves the state there and back, so take it with few
    bytes: ``host(int8())``.

    **Error** and **stalls** are those of ``store``.

    Args:
      store: a dtype, a `Store`, or None for float32 or wider.

    Returns:
      The store: no bytes on the device between two steps. On CPU, whose device is the host, arrays
      stay where they are. Elsewhere a device without ``"pinned_host"`` is refused.

    Raises:
      TypeError: not a store.
      ValueError: in ``init`` and ``update``, a backend without ``"pinned_host"``.

    Example:
      >>> import gradkit as gk, jax.numpy as jnp
      >>> store, x = gk.stores.host("bfloat16"), jnp.ones(3)
      >>> kept = store.encode(x)
      >>> assert kept.dtype == jnp.bfloat16 and (store.decode(kept, x) == x).all()
    """
    with check.inside("host"):
        inner = as_store(store, "store")
        if getattr(inner.encode, "func", None) is _to_host:
            check.refuse(f"store={inner!r} is kept on the host already")
    return Store(With(_to_host, store), With(_to_device, store), inner.keyed)


def _moves() -> bool:
    """Whether the default device is another one than the host."""
    if jax.default_backend() == "cpu":
        return False
    kinds = {memory.kind for memory in jax.devices()[0].addressable_memories()}
    if "pinned_host" not in kinds:
        problem = f"the backend {jax.default_backend()!r} has no host memory"
        check.refuse(problem, expected="a device with 'pinned_host'", fix="Leave host() out")
    return True


def _to_host(store: Any, leaf: Any, key: Any = None) -> Any:
    inner = as_store(store)
    kept = inner.encode(leaf, key) if inner.keyed else inner.encode(leaf)
    return jax.device_put(kept, jax.memory.Space.Host) if _moves() else kept


def _to_device(store: Any, stored: Any, like: Any) -> Any:
    kept = jax.device_put(stored, jax.memory.Space.Device) if _moves() else stored
    return as_store(store).decode(kept, like)


NAMES[_to_host] = "host"
