"""The tiny policy's tokenizer: byte-level BPE with Qwen's special tokens and chat layout.

Times, coordinates, tags, colours and shapes are single tokens, so that responses stay short. Any other text still
encodes, byte by byte if need be.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from data.synthetic import COLOURS, DIRECTIONS, SHAPES

SPECIAL_TOKENS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
TIMES = tuple(f"{half / 2:.1f}" for half in range(33))
COORDINATES = tuple(f"{hundredth / 100:.2f}" for hundredth in range(101))
# A number of a list of boxes, with what stands before it: a box is four tokens long.
BOX_STARTS, NEXT_BOXES, NEXT_NUMBERS = (
    tuple(f"{before}{twentieth / 20:.2f}" for twentieth in range(21)) for before in ("[[", "],[", ",")
)
TAGS = ("<think>", "</think>", "<answer>", "</answer>", "<glue>", "</glue>")
WORDS = (
    *COLOURS,
    *SHAPES,
    *DIRECTIONS,
    *(f"({letter})" for letter in "ABCD"),
    *"ABCD",
    "none",
    ":",
    " from ",
    " to ",
    " . ",
    "]]",
    ", ",
    "[(",
    ")]",
)
CHAT_TEMPLATE = (
    "{%- if messages[0].role != 'system' -%}<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{%- endif -%}"
    "{%- for message in messages -%}<|im_start|>{{ message.role }}\n"
    "{%- if message.content is string -%}{{ message.content }}{%- else -%}"
    "{%- for part in message.content -%}"
    "{%- if part.type == 'video' -%}<|vision_start|><|video_pad|><|vision_end|>"
    "{%- elif part.type == 'image' -%}<|vision_start|><|image_pad|><|vision_end|>"
    "{%- else -%}{{ part.text }}{%- endif -%}{%- endfor -%}{%- endif -%}<|im_end|>\n{%- endfor -%}"
    "{%- if add_generation_prompt -%}<|im_start|>assistant\n{% endif -%}"
)
MERGED_VOCABULARY = 512


def build_tokenizer(corpus: Iterable[str]) -> PreTrainedTokenizerFast:
    """Train the tokenizer.

    Args:
        corpus: Texts of prompts; what repeats in them (the instructions) becomes few tokens.
    """
    whole = (*SPECIAL_TOKENS, *TIMES, *COORDINATES, *BOX_STARTS, *NEXT_BOXES, *NEXT_NUMBERS, *TAGS, *WORDS)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=MERGED_VOCABULARY,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    longest_first = sorted(whole, key=len, reverse=True)
    splitter = re.compile("|".join(re.escape(token) for token in longest_first))
    tokenizer.train_from_iterator(
        (piece for text in corpus for piece in splitter.split(text) if piece), trainer
    )
    tokenizer.add_special_tokens(
        [AddedToken(token, special=True, normalized=False) for token in SPECIAL_TOKENS]
    )
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in whole[len(SPECIAL_TOKENS) :]])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
    )
