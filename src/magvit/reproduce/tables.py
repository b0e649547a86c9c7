"""The paper's tables as data (arXiv 2212.05199): what each row is, and what was published.

A row names its models as the recipes are named; a scale (`magvit.reproduce.scale`) says what to train for a name.
Rows without models are quoted from the paper.
"""

from dataclasses import dataclass, replace

from magvit.tasks import get_task

Numbers = tuple[int | float | None, ...]


@dataclass(frozen=True)
class Column:
    """A column of numbers.

    Attributes:
        name: its head.
        protocol: how the numbers are made: a published protocol, for which each scale has its own.
        score: of the evaluation's numbers that of this task; `average` over all, or `reconstruction`.
        metric: as the paper has it; a scale may have another in its place.
    """

    name: str
    protocol: str
    score: str
    metric: str = "fvd"


@dataclass(frozen=True)
class Row:
    """A row.

    Attributes:
        name: its head.
        models: of the columns one by one, or of all; None where there is none.
        published: the numbers in the paper; None where there is none.
        mask_mode: how a condition enters, see `Decoding`.
    """

    name: str
    models: tuple[str | None, ...]
    published: Numbers
    mask_mode: str = "trained"

    def model(self, column: int) -> str | None:
        """That of a column."""
        return self.models[column if len(self.models) > 1 else 0]


@dataclass(frozen=True)
class Claim:
    """What the paper concludes: one cell (row, column) is better than another."""

    says: str
    better: tuple[str, str]
    worse: tuple[str, str]


@dataclass(frozen=True)
class Table:
    """A table: `tableN` of the paper, its rows and columns, and what follows from them."""

    name: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    claims: tuple[Claim, ...] = ()

    def __post_init__(self) -> None:
        """Raise ValueError where a row or a claim does not fit."""
        for row in self.rows:
            if len(row.published) != len(self.columns) or len(row.models) not in (1, len(self.columns)):
                raise ValueError(f"row {row.name} of {self.name} does not have {len(self.columns)} columns")
        rows, columns = {row.name for row in self.rows}, {column.name for column in self.columns}
        for claim in self.claims:
            if not {claim.better[0], claim.worse[0]} <= rows or not {claim.better[1], claim.worse[1]} <= columns:
                raise ValueError(f"{self.name} has no cells for the claim: {claim.says}")

    def only(self, names: tuple[str, ...]) -> "Table":
        """The same with some rows alone, and the claims that these carry. ValueError for a row that is not there."""
        known = [row.name for row in self.rows]
        if unknown := [name for name in names if name not in known]:
            raise ValueError(f"{self.name} has no row {unknown[0]!r}, but {', '.join(known)}")
        claims = tuple(claim for claim in self.claims if {claim.better[0], claim.worse[0]} <= {*names})
        return replace(self, rows=tuple(row for row in self.rows if row.name in names), claims=claims)


def _quoted(columns: int, **rows: int | float | Numbers) -> tuple[Row, ...]:
    """Rows of others' models; one number stands in the first column."""
    return tuple(
        Row(name.replace("_", " "), (None,), number if isinstance(number, tuple) else (number, *[None] * (columns - 1)))
        for name, number in rows.items()
    )


TABLE_1 = Table(
    "table1",
    "Class-conditional generation on UCF-101",
    (
        Column("FVD", "magvit-ucf101", "class_generation"),
        Column("IS", "magvit-ucf101", "class_generation", "inception_score"),
    ),
    (
        *_quoted(2, TATS=(332, 79.28), CogVideo=(626, 50.46)),
        Row("Make-A-Video", (None,), (81, 82.55)),
        Row("MAGVIT-B-CG", ("magvit-b-cg-ucf101",), (159, 83.55)),
        Row("MAGVIT-L-CG", ("magvit-l-cg-ucf101",), (76, 89.27)),
    ),
    (Claim("the larger model is better", ("MAGVIT-L-CG", "FVD"), ("MAGVIT-B-CG", "FVD")),),
)

TABLE_2 = Table(
    "table2",
    "Frame prediction on Kinetics-600 (5 to 11 frames) and BAIR (1 to 15)",
    (
        Column("K600", "magvit-kinetics600", "frame_prediction"),
        Column("BAIR", "magvit-bair", "frame_prediction"),
        Column("BAIR debiased", "magvit-bair-debiased", "frame_prediction"),
    ),
    (
        *_quoted(3, CogVideo=109.2, CCVS=(55.0, 99, None), Phenaki=(36.4, 97, None)),
        Row("TrIVD-GAN-FP", (None,), (25.7, 103, None)),
        *_quoted(3, Transframer=(25.4, 100, None), MaskViT=(None, 94, None), FitVid=(None, 94, None)),
        *_quoted(3, MCVD=(None, 90, None), NUWA=(None, 87, None), RaMViD=(16.5, 84, None)),
        Row("Video Diffusion", (None,), (16.2, None, None)),
        Row("MAGVIT-B-FP", ("magvit-b-fp-kinetics600", "magvit-b-fp-bair", "magvit-b-fp-bair"), (24.5, 76, 48)),
        Row("MAGVIT-L-FP", ("magvit-l-fp-kinetics600", "magvit-l-fp-bair", "magvit-l-fp-bair"), (9.9, 62, 31)),
    ),
    (Claim("the larger model is better", ("MAGVIT-L-FP", "BAIR debiased"), ("MAGVIT-B-FP", "BAIR debiased")),),
)

TABLE_3 = Table(
    "table3",
    "Image quality of frame prediction on BAIR: the best of 100 trials a video",
    tuple(
        Column(name, "magvit-bair-quality", "frame_prediction", metric)
        for name, metric in (("FVD", "fvd"), ("PSNR", "psnr_best"), ("SSIM", "ssim_best"), ("LPIPS", "lpips_vgg"))
    ),
    (
        *_quoted(4, CCVS=(99, None, 0.729, None), MCVD=(90, 16.9, 0.780, None)),
        Row("MAGVIT-L-FP", ("magvit-l-fp-bair",), (62, 19.3, 0.787, 0.123)),
    ),
)

EIGHT = ("FP", "FI", "OPC", "OPV", "OPH", "OPD", "IPC", "IPD")


def _by_task(mean: str, protocol: str, codes: tuple[str, ...]) -> tuple[Column, ...]:
    return (Column(mean, protocol, "average"), *(Column(code, protocol, get_task(code).name) for code in codes))


TABLE_4 = Table(
    "table4",
    "Multi-task generation on BAIR: debiased FVD",
    _by_task("MT8", "magvit-bair-multitask", EIGHT),
    (
        Row(
            "B-UNC",
            ("magvit-b-unc-bair",),
            (150.6, 74.0, 71.4, 119.0, 46.7, 55.9, 389.3, 145.0, 303.2),
            "latent_masking",
        ),
        Row("B-FP", ("magvit-b-fp-bair",), (201.1, 47.7, 56.2, 247.1, 118.5, 142.7, 366.3, 357.3, 272.7)),
        Row("B-MT", ("magvit-b-mt-bair",), (32.8, 47.2, 36.0, 28.1, 29.0, 27.8, 32.1, 31.1, 31.0)),
        Row("L-MT", ("magvit-l-mt-bair",), (22.8, 31.4, 26.4, 21.3, 21.2, 19.5, 20.9, 21.3, 20.3)),
    ),
    (
        Claim("many tasks over none", ("B-MT", "MT8"), ("B-UNC", "MT8")),
        Claim("many tasks over one", ("B-MT", "MT8"), ("B-FP", "MT8")),
        Claim("many tasks over one, on the one", ("B-MT", "FP"), ("B-FP", "FP")),
        Claim("the larger model is better", ("L-MT", "MT8"), ("B-MT", "MT8")),
    ),
)

TEN = (*EIGHT, "CG", "CFP")
TABLE_12 = Table(
    "table12",
    "Multi-task generation on Something-Something-v2: FVD",
    _by_task("MT10", "magvit-ssv2-multitask", TEN),
    (
        Row(
            "B-UNC",
            ("magvit-b-unc-ssv2",),
            (258.8, 278.8, 91.0, 67.5, 27.3, 36.2, 711.5, 319.3, 669.8, 107.7, 279.0),
            "latent_masking",
        ),
        Row("B-FP", ("magvit-b-fp-ssv2",), (402.9, 59.3, 76.2, 213.2, 81.2, 86.3, 632.7, 343.1, 697.9, 1780.0, 59.3)),
        Row("B-MT", ("magvit-b-mt-ssv2",), (43.4, 71.5, 38.0, 38.8, 23.3, 26.1, 33.4, 23.3, 25.3, 94.7, 59.3)),
        Row("L-MT", ("magvit-l-mt-ssv2",), (27.3, 33.8, 25.0, 21.1, 16.8, 17.0, 23.5, 13.5, 15.0, 79.1, 28.5)),
    ),
    (
        Claim("many tasks over none", ("B-MT", "MT10"), ("B-UNC", "MT10")),
        Claim("many tasks over one", ("B-MT", "MT10"), ("B-FP", "MT10")),
        Claim("the larger model is better", ("L-MT", "MT10"), ("B-MT", "MT10")),
    ),
)

TABLE_13 = Table(
    "table13",
    "Other domains: frame prediction on nuScenes, interpolation on Objectron",
    (
        Column("nuScenes FP", "magvit-nuscenes", "frame_prediction"),
        Column("Objectron FI", "magvit-objectron", "frame_interpolation"),
    ),
    (
        Row("MAGVIT-B", ("magvit-b-fp-nuscenes", "magvit-b-fi-objectron"), (29.3, None)),
        Row("MAGVIT-L", ("magvit-l-fp-nuscenes", "magvit-l-fi-objectron"), (20.6, 26.7)),
    ),
    (Claim("the larger model is better", ("MAGVIT-L", "nuScenes FP"), ("MAGVIT-B", "nuScenes FP")),),
)

TABLE_5 = Table(
    "table5",
    "Conditional masked modelling on BAIR: debiased FVD",
    (
        Column("FP", "magvit-bair-debiased", "frame_prediction"),
        Column("MT8", "magvit-bair-multitask", "average"),
    ),
    (
        Row("latent masking", ("magvit-b-unc-bair",), (74, 151), "latent_masking"),
        Row("prefix condition", ("magvit-b-fp-prefix-bair", "magvit-b-mt-prefix-bair"), (55, None)),
        Row("COMMIT, mask", ("magvit-b-fp-mask-bair", "magvit-b-mt-mask-bair"), (388, 143)),
        Row("COMMIT, mask + reconstruct", ("magvit-b-fp-reconstruct-bair", "magvit-b-mt-reconstruct-bair"), (51, 53)),
        Row("COMMIT, all losses", ("magvit-b-fp-bair", "magvit-b-mt-bair"), (48, 33)),
    ),
    (
        Claim("COMMIT over latent masking, FP", ("COMMIT, all losses", "FP"), ("latent masking", "FP")),
        Claim("COMMIT over latent masking, MT8", ("COMMIT, all losses", "MT8"), ("latent masking", "MT8")),
        Claim("COMMIT over prefix, FP", ("COMMIT, all losses", "FP"), ("prefix condition", "FP")),
        Claim("COMMIT over prefix, MT8", ("COMMIT, all losses", "MT8"), ("prefix condition", "MT8")),
        Claim("the reconstruct loss helps, FP", ("COMMIT, mask + reconstruct", "FP"), ("COMMIT, mask", "FP")),
        Claim("the reconstruct loss helps, MT8", ("COMMIT, mask + reconstruct", "MT8"), ("COMMIT, mask", "MT8")),
        Claim("the refine loss helps, FP", ("COMMIT, all losses", "FP"), ("COMMIT, mask + reconstruct", "FP")),
        Claim("the refine loss helps, MT8", ("COMMIT, all losses", "MT8"), ("COMMIT, mask + reconstruct", "MT8")),
    ),
)

TABLE_6 = Table(
    "table6",
    "Decoding methods, frame prediction on BAIR",
    (
        Column("FVD", "magvit-bair", "frame_prediction"),
        Column("debiased", "magvit-bair-debiased", "frame_prediction"),
    ),
    (
        Row("MaskGIT, 2D-VQ", ("magvit-b-unc-2dvq-bair",), (222, 177), "latent_masking"),
        Row("MaskGIT, 3D-VQ", ("magvit-b-unc-bair",), (122, 74), "latent_masking"),
        *_quoted(2, MaskViT=94.0),
        Row("AR, 3D-VQ", ("ar-b-fp-bair",), (91, 56)),
        Row("MAGVIT, 3D-VQ", ("magvit-b-fp-bair",), (76, 48)),
    ),
    (
        Claim("COMMIT over MaskGIT", ("MAGVIT, 3D-VQ", "debiased"), ("MaskGIT, 3D-VQ", "debiased")),
        Claim("COMMIT over autoregression", ("MAGVIT, 3D-VQ", "debiased"), ("AR, 3D-VQ", "debiased")),
        Claim("3D-VQ over 2D-VQ", ("MaskGIT, 3D-VQ", "debiased"), ("MaskGIT, 2D-VQ", "debiased")),
    ),
)

_UCF = "magvit-ucf101-reconstruction"
TABLE_7 = Table(
    "table7",
    "Tokenizers: reconstruction of UCF-101",
    (
        Column("FVD", _UCF, "reconstruction", "fvd"),
        Column("IS", _UCF, "reconstruction", "inception_score"),
        Column("PSNR", _UCF, "reconstruction", "psnr"),
        Column("SSIM", _UCF, "reconstruction", "ssim"),
        Column("LPIPS", _UCF, "reconstruction", "lpips_vgg"),
    ),
    (
        Row("2D-VQ, scratch", ("2dvq-l-scratch-ucf101",), (240, 80.9, 21.4, 0.667, 0.139)),
        Row("2D-VQ, ImageNet", ("2dvq-l-ucf101",), (216, 82.6, 21.5, 0.685, 0.114)),
        Row("TATS", (None,), (162, 80.6, None, None, None)),
        Row("3D-VQ-B, scratch", ("3dvq-b-scratch-ucf101",), (127, 82.1, None, None, None)),
        Row("3D-VQ-B, average", ("3dvq-b-average-ucf101",), (103, 84.8, None, None, None)),
        Row("3D-VQ-B, central", ("3dvq-b-ucf101",), (58, 87.0, None, None, None)),
        Row("3D-VQ-L, scratch", ("3dvq-l-scratch-ucf101",), (45, 87.1, 21.8, 0.690, 0.113)),
        Row("3D-VQ-L, average", ("3dvq-l-average-ucf101",), (35, 88.3, 21.9, 0.697, 0.103)),
        Row("3D-VQ-L, central", ("3dvq-l-ucf101",), (25, 88.9, 22.0, 0.701, 0.099)),
    ),
    (
        Claim("3D over 2D, scratch", ("3D-VQ-B, scratch", "FVD"), ("2D-VQ, scratch", "FVD")),
        Claim("3D over 2D, from images", ("3D-VQ-B, central", "FVD"), ("2D-VQ, ImageNet", "FVD")),
        Claim("inflation over scratch", ("3D-VQ-B, average", "FVD"), ("3D-VQ-B, scratch", "FVD")),
        Claim("central over average inflation", ("3D-VQ-B, central", "FVD"), ("3D-VQ-B, average", "FVD")),
    ),
)

TABLES = {
    table.name: table for table in (TABLE_1, TABLE_2, TABLE_3, TABLE_4, TABLE_5, TABLE_6, TABLE_7, TABLE_12, TABLE_13)
}


def table_named(name: str) -> Table:
    """The table of this name. Raises ValueError if there is none."""
    if name not in TABLES:
        raise ValueError(f"unknown table {name!r}, expected one of {', '.join(TABLES)}")
    return TABLES[name]
