#!/usr/bin/env python3
"""Writes what PEFT computes with a LoRA adapter on small decoders of several families: lora/<variant>.json beside this script.

  pip install torch transformers peft && tests/engine/families/make_lora_golden.py

Not part of the build. As in make_golden.py nothing but figures is stored: weights and adapters are made from the tensors' names on
both sides. Fields: config and adapter_config as the libraries write them, logits of the last position, grad_norms of the adapter by
the names in adapter_model.safetensors.
"""
import json, re, tempfile
from pathlib import Path
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors import safe_open
from safetensors.torch import save_file
from make_golden import HERE, NEO, NEOX, OPT, GPT2, WIDE, digits, nll_of, rope, stored_model, weights

VARIANTS = {
    "llama": (WIDE | dict(model_type="llama", rope_parameters=rope()), dict(r=3, lora_alpha=6, target_modules=["q_proj", "v_proj"])),
    "llama_all": (WIDE | dict(model_type="llama", attention_bias=True, mlp_bias=True, rope_parameters=rope()),
                  dict(r=2, lora_alpha=5, use_rslora=True, target_modules="all-linear")),
    "qwen3": (WIDE | dict(model_type="qwen3", head_dim=10, rope_parameters=rope()), dict(r=4, lora_alpha=4, target_modules=["k_proj", "down_proj", "up_proj"])),
    "gpt2": (GPT2 | dict(activation_function="gelu_new"), dict(r=2, lora_alpha=2, target_modules=["c_attn", "c_proj"], fan_in_fan_out=True)),
    "gpt_neo": (NEO | dict(num_layers=2, attention_types=[[["global", "local"], 1]], window_size=3), dict(r=2, lora_alpha=3, target_modules=["attention.v_proj", "c_fc"])),
    "gpt_neox": (NEOX | dict(rope_parameters=rope(partial_rotary_factor=0.25)), dict(r=3, lora_alpha=3, target_modules=["query_key_value", "dense"])),
    "opt": (OPT, dict(r=2, lora_alpha=8, target_modules=["q_proj", "fc2"])),
}

def golden(name, spec, lora):
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        config, _, model = stored_model(name, spec, folder)
        get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **lora)).save_pretrained(folder / "adapter")
        file = folder / "adapter/adapter_model.safetensors"
        with safe_open(file, "pt") as f: shapes = {k: f.get_slice(k).get_shape() for k in f.keys()}
        save_file({k: weights(k, s) for k, s in shapes.items()}, file)
        adapter = json.loads((folder / "adapter/adapter_config.json").read_text())
        _, _, model = stored_model(name, spec, folder)
        model = PeftModel.from_pretrained(model, folder / "adapter", is_trainable=True).eval()
    adapter["base_model_name_or_path"] = "base"
    ids = torch.arange(22).reshape(2, 11) * 7 % 44
    logits = model(ids).logits
    nll_of(logits, ids).mean().backward()
    norms = {n.replace(".default", ""): p.grad.double().norm().item() for n, p in model.named_parameters() if p.requires_grad}
    assert set(norms) == set(shapes), (set(norms) ^ set(shapes))
    value = {"config": config, "adapter_config": adapter, "input_ids": ids.tolist(), "logits": digits(logits[:, -1]), "grad_norms": digits(norms),
             "shapes": shapes}
    text = json.dumps(value, indent=1)
    text = re.sub(r"\[\s+([^\[\]{}\"]*?)\s+\]", lambda m: "[" + re.sub(r",\s+", ", ", m[1]) + "]", text)
    (HERE / "lora").mkdir(exist_ok=True)
    (HERE / "lora" / f"{name}.json").write_text(text + "\n")
    print(f"{name:12} {len(shapes)} tensors, {len(text) / 1000:.1f} kB")

for name, (spec, lora) in VARIANTS.items(): golden(name, spec, lora)
