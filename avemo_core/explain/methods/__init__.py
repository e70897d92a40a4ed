"""Ways to explain a reading: one literal table from a name to the function that makes its maps."""

from collections.abc import Callable
from dataclasses import dataclass

from . import attention, cam, gradients, perturbation
from .maps import Maps


@dataclass(frozen=True)
class Method:
    """One way to explain. `targeted`: another target has another map. `options`: what `maps` takes beside the scene."""

    title: str
    source: str
    maps: Callable[..., Maps]  # (scene, **options)
    targeted: bool = True
    options: tuple[str, ...] = ()


METHODS: dict[str, Method] = {
    "cam": Method("The model's own evidence", "class activation maps, Zhou et al. 2016", cam.cam),
    "gradcam": Method("Grad-CAM", "Selvaraju et al. 2017", gradients.gradcam, options=("layer",)),
    "gradcam++": Method("Grad-CAM++", "Chattopadhay et al. 2018", gradients.gradcam_plus_plus, options=("layer",)),
    "layercam": Method("LayerCAM", "Jiang et al. 2021", gradients.layercam, options=("layer",)),
    "integrated_gradients": Method("Integrated gradients", "Sundararajan et al. 2017", perturbation.integrated_gradients),
    "occlusion": Method("Occlusion", "Zeiler and Fergus 2014", perturbation.occlusion),
    "spatial": Method("Spatial attention", "Woo et al. 2018", attention.spatial, targeted=False),
    "channel": Method("Channel attention", "Hu et al. 2018", attention.channel, targeted=False),
    "temporal": Method("Attention over time", "Bahdanau et al. 2015", attention.temporal, targeted=False),
    "cross_modal": Method(
        "Attention between face and voice", "Vaswani et al. 2017", attention.cross_modal, False, ("head",)
    ),
    "rollout": Method("Attention rollout", "Abnar and Zuidema 2020", attention.rollout, targeted=False),
}


def method(name: str) -> Method:
    """The method of that name; ValueError lists the valid ones."""
    if name not in METHODS:
        raise ValueError(f"Unknown method {name!r}; choose one of {', '.join(METHODS)}.")
    return METHODS[name]
