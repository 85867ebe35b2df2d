"""Captions: real checkpoints of each kind, tiny, at random, read from the disk; what is written, kept, gone on with."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from cli.caption import caption as command
from index.captions import caption_images
from index.store import Index
from index.words import find_words
from matcher.errors import InputError, MissingDependency
from tests.crash.fake_encoder import SETTINGS, FakeEncoder

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

WORDS = ("[PAD]", "[BOS]", "[EOS]", "[UNK]", "[CLS]", "[SEP]", "a", "ship", "in", "storm", ".", "two")


def tokenizer(folder: Path) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    from transformers import PreTrainedTokenizerFast

    made = tokenizers.Tokenizer(tokenizers.models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="[UNK]"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    marks = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "bos", "eos", "unk", "cls", "sep")}
    PreTrainedTokenizerFast(tokenizer_object=made, **marks).save_pretrained(folder)


def checkpoint(kind: str, folder: Path) -> Path:
    """Write a tiny model of a kind, its weights at random, in the hub's own format."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra models)")
    hub = pytest.importorskip("transformers", reason="transformers is not installed (extra models)")
    torch.manual_seed(0)
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    sees = {**small, "image_size": 32, "patch_size": 16}
    marks = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    if kind == "vision-encoder-decoder":
        writes = hub.GPT2Config(
            vocab_size=len(WORDS), n_embd=16, n_layer=1, n_head=2, n_positions=64, add_cross_attention=True, **marks
        )
        settings = hub.VisionEncoderDecoderConfig.from_encoder_decoder_configs(hub.ViTConfig(**sees), writes)
        settings.decoder_start_token_id = 1
        model = hub.VisionEncoderDecoderModel(config=settings)
        for name, value in {**marks, "decoder_start_token_id": 1}.items():
            setattr(model.generation_config, name, value)
    elif kind == "blip":
        writes = {**small, "vocab_size": len(WORDS), "encoder_hidden_size": 16, "sep_token_id": 2, **marks}
        settings = hub.BlipConfig(text_config=writes, vision_config=sees)
        model = hub.BlipForConditionalGeneration(settings)
    else:
        settings = hub.GitConfig(
            vision_config=sees, vocab_size=len(WORDS), max_position_embeddings=64, **small, **marks
        )
        model = hub.GitForCausalLM(settings)
    model.save_pretrained(folder)
    processor = {"blip": hub.BlipImageProcessor, "git": hub.CLIPImageProcessor}.get(kind, hub.ViTImageProcessor)
    size = {"shortest_edge": 32} if kind == "git" else {"height": 32, "width": 32}
    crop = {"crop_size": {"height": 32, "width": 32}} if kind == "git" else {}
    processor(size=size, **crop).save_pretrained(folder)
    tokenizer(folder)
    return folder


@pytest.fixture(scope="module", params=["blip", "git", "vision-encoder-decoder"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    return request.param, checkpoint(request.param, tmp_path_factory.mktemp("models") / request.param)


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """Five pictures, one of them broken."""
    files = [tmp_path / f"picture {number}.png" for number in range(5)]
    random = np.random.default_rng(0)
    for file in files:
        cv2.imwrite(str(file), random.integers(0, 255, (40, 60, 3), dtype=np.uint8))
    files[4].write_bytes(files[4].read_bytes()[:90])
    with Index.create(tmp_path / "i.calque", SETTINGS) as made:
        made.add(files, workers=0, encoder_factory=FakeEncoder)
        made.set_metadata({1: {"caption": "given by a person"}})
    return tmp_path / "i.calque"


class Fake:
    """A writer of captions whose words can be foretold."""

    at_once, long_side = 2, 64

    def __init__(self, signature: str = "fake-1()", say: str = "a ship") -> None:
        self.signature = signature
        self.say = say
        self.asked = 0

    def caption(self, pictures: Sequence[np.ndarray]) -> list[str]:
        self.asked += len(pictures)
        return [self.say] * len(pictures)


def test_every_kind_of_model_is_read_and_writes(model: tuple[str, Path]) -> None:
    from matcher.captioning import Captioner

    kind, folder = model
    captioner = Captioner(str(folder), longest=6)
    pictures = [np.full((30, 50, 3), shade, np.uint8) for shade in (0, 120, 250)]
    captions = captioner.caption(pictures)
    assert len(captions) == 3 and all(set(text.split()) <= set(WORDS) for text in captions)
    assert captions == Captioner(str(folder), longest=6).caption(pictures)
    assert captioner.caption([]) == []
    assert captioner.signature.startswith(f"{folder.name}-1(longest=6,beams=3,weights=")
    if kind == "vision-encoder-decoder":
        with pytest.raises(InputError, match="leave out --prompt"):
            Captioner(str(folder), prompt="a ship")
    else:
        prompted = Captioner(str(folder), longest=4, prompt="two")
        assert prompted.signature != captioner.signature
        assert all(text.startswith("two") for text in prompted.caption(pictures))


def test_the_command_writes_what_is_found_by_words(index: Path, model: tuple[str, Path]) -> None:
    words = [index, "--model", model[1], "--length", 5, "--workers", 0, "--format", "json", "-q"]
    done = CliRunner().invoke(command, [*map(str, words)], standalone_mode=False)
    assert done.return_value == 1, done.output
    told = json.loads(done.stdout)
    assert (told["kept"], told["failed"]) == (1, 1)
    assert told["captioned"] + told["without_pictures_or_words"] == 3 and "picture 4.png" in done.stderr


def test_captions_are_kept_gone_on_with_and_found(index: Path) -> None:
    with Index.open(index, writable=True) as opened:
        writer = Fake()
        report = caption_images(opened, writer, workers=0)
        assert (report.captioned, report.kept, len(report.failed), writer.asked) == (3, 1, 1, 3)
        assert opened.metadata(2) == {"caption": "a ship", "caption_by": "fake-1()"}
        again = caption_images(opened, writer, workers=0)
        assert (again.captioned, again.known, writer.asked) == (0, 3, 3)
        other = caption_images(opened, Fake("fake-2()", "a storm"), only=frozenset({2}), workers=0)
        assert other.captioned == 1 and opened.metadata(2)["caption"] == "a storm"
        caption_images(opened, Fake("fake-3()", "written over"), replace=True, only=frozenset({1}), workers=0)
        assert opened.metadata(1) == {"caption": "written over", "caption_by": "fake-3()"}
        assert caption_images(opened, Fake(say=""), key="silence", workers=0).bare == 4
    assert {hit.image for hit in find_words(index, "ship")} == {3, 4}


def test_pictures_on_pages_are_captioned_one_after_the_other(index: Path) -> None:
    from index.annotations import Zone
    from matcher.types import Region

    class Counting(Fake):
        def caption(self, pictures: Sequence[np.ndarray]) -> list[str]:
            return [f"{picture.shape[1]} wide" for picture in pictures]

    boxes = [Region(0, 0, 20, 20), Region(30, 0, 15, 30)]
    with Index.open(index, writable=True) as opened:
        opened.set_regions("layout", {2: [Zone("illustration", box) for box in boxes]})
        report = caption_images(opened, Counting(), regions=True, workers=0)
        assert (report.captioned, report.bare) == (1, 3)
        assert opened.metadata(2)["caption"] == "20 wide; 15 wide"


def test_an_interruption_keeps_what_was_done(index: Path) -> None:
    class Interrupted(Fake):
        def caption(self, pictures: Sequence[np.ndarray]) -> list[str]:
            if self.asked:
                raise KeyboardInterrupt
            return super().caption(pictures)

    with Index.open(index, writable=True) as opened:
        with pytest.raises(KeyboardInterrupt):
            caption_images(opened, Interrupted(), workers=0)
        assert sum("caption_by" in values for values in opened.all_metadata().values()) == 2


def test_a_model_that_is_not_here_says_where_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("transformers", reason="transformers is not installed (extra models)")
    hub = pytest.importorskip("huggingface_hub")
    from matcher.captioning import Captioner

    def absent(name: str, **_: Any) -> str:
        raise OSError(f"no network for {name}")

    monkeypatch.setattr(hub, "snapshot_download", absent)
    monkeypatch.setenv("CALQUE_MODELS", str(tmp_path))
    with pytest.raises(MissingDependency, match="hf download Salesforce/blip-image-captioning-base"):
        Captioner("blip")
    with pytest.raises(InputError, match=r"no folder of a model"):
        Captioner("blib")
    folder = checkpoint("blip", tmp_path / "blip-image-captioning-base")
    assert Captioner("blip").signature == Captioner(str(folder)).signature.replace(folder.name, "blip")


def test_what_is_no_captioner_is_refused(tmp_path: Path) -> None:
    folder = checkpoint("blip", tmp_path / "model")
    from matcher.captioning import Captioner

    (folder / "config.json").write_text(json.dumps({"model_type": "vit"}))
    with pytest.raises(InputError, match=r"of the kind vit, .* blip, git, vision-encoder-decoder"):
        Captioner(str(folder))
    (folder / "config.json").write_text("{}")
    with pytest.raises(InputError, match="cannot be read"):
        Captioner(str(folder))
