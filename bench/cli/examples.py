"""Examples of commands, as their help shows them."""

from __future__ import annotations

EXAMPLES: dict[str, tuple[str, ...]] = {
    "run": (
        "bench run demo",
        "bench run thesis.yaml --out runs/thesis --workers 4",
        "bench run demo --only method=msp,dataset=toytown* --limit 8",
        "bench run demo --method msp --method energy:temperature=2",
    ),
    "check": (
        "bench check thesis.yaml",
        "bench check thesis.yaml --estimate",
        "bench check thesis.yaml --fetch --accept",
    ),
    "fit": ("bench fit energy --model toynet --data toytown:split=val", "bench fit thesis.yaml"),
    "describe": (
        "bench describe toytown:split=anomaly,images=4",
        "bench describe thesis.yaml",
        "bench describe energy",
    ),
    "init": ("bench init photos", "bench init /data/photos --out photos.yaml"),
    "list": ("bench list datasets", "bench list metrics", "bench list published --only dataset=Fishyscapes*"),
    "show": (
        "bench show runs/demo",
        "bench show runs/demo --only method=msp --metrics ap,fpr95",
        "bench show a=runs/a b=runs/b",
    ),
    "compare": ("bench compare runs/a runs/b", "bench compare runs/a runs/b --fail-if 'ap < -0.01'"),
    "merge": ("bench merge runs/gpu1 runs/gpu2 --out runs/all",),
    "verify": ("bench verify runs/demo --cell 011d781118878dd1", "bench verify runs/demo"),
    "report": ("bench report runs/demo", "bench report runs/demo --format tex --table paper --out table.tex"),
    "score": (
        "bench score --protocol anomaly --labels masks --scores maps",
        "bench score --protocol fishyscapes --dataset fishyscapes:set=static --scores maps.zip",
    ),
    "new NAME": ("bench new NAME my_NAME", "bench new NAME my_NAME --folder plugins"),
    "new": ("bench new method my_score", "bench new dataset my_frames --folder plugins/datasets"),
    "data": (
        "bench data fetch fishyscapes --part static --version 3",
        "bench data toytown --layout cityscapes --out data/cityscapes",
    ),
    "data fetch": (
        "bench data fetch road_anomaly --accept",
        "bench data fetch fishyscapes --part static --version 3 --accept",
        "bench data fetch --list",
    ),
    "data toytown": ("bench data toytown --layout fishyscapes --out data/fishyscapes --images 8 --size 128x256",),
    "data coco-proxy": ("bench data coco-proxy --coco data/coco --out data/coco_proxy",),
    "models": ("bench models fetch --list", "bench models fetch deeplabv3plus_r101_cityscapes --accept"),
    "models fetch": (
        "bench models fetch deeplabv3plus_r101_cityscapes --accept",
        "bench models fetch deeplabv3plus_r101_cityscapes --list",
    ),
    "models convert": (
        "bench models convert model_final.pth --to networks/mask2former",
        "bench models convert ckpts/swin_l --to networks/swin_l --part teacher.",
    ),
    "submit": ("bench submit smiyc --run runs/smiyc --method energy --out entry", "bench submit check entry"),
    "submit NAME": ("bench submit NAME --run runs/thesis --method energy --out entry",),
    "submit check": ("bench submit check entry/entry.zip", "bench submit check entry --board smiyc"),
    "submit dry-run": ("bench submit dry-run entry --run runs/smiyc",),
    "submit entry": ("bench submit entry entry --returned scores.json",),
    "completion": ("bench completion bash", "bench completion zsh"),
    "board": ("bench board new our-board", "bench board add runs/thesis our-board --by 'Jane Doe'"),
    "board new": ("bench board new our-board --title 'Road anomalies of our lab'",),
    "board add": (
        "bench board add runs/thesis our-board --by 'Jane Doe' --code https://example.org/code",
        "bench board add runs/thesis --only method=my_score --name 'My score' --anonymous",
        "bench board add figures.csv our-board --by 'Jane Doe' --of my-score-on-deeplab",
    ),
    "board check": ("bench board check our-board",),
    "board build": ("bench board build our-board --out site",),
    "help": ("bench help run", "bench help submit check"),
}
