#!/usr/bin/env python3
"""Writes what transformers computes for small decoders of every family, in the variants that the folders of LETHE_TESTDATA lack.

  pip install torch transformers && tests/engine/families/make_golden.py     one JSON file a variant, beside this script
  make_golden.py --random 50 --seed 1 --out DIR                              random variants; then LETHE_FAMILY_GOLDEN=DIR engine_family_golden_test

Not part of the build: the files are committed, and family_golden_test.cc compares the engine with them. Weights are not stored. Both
sides make them from the name and the shape of each tensor as the checkpoint has it, so a wrong name, shape or layout moves every figure.

Fields  config: config.json. input_ids (2,T): the pad token is among them. log_probs[b][t]: of token t+1. logits: of the last two
        positions of each row. mean_nll, grad_norm, grad_norms: as in golden.json of the test data. greedy: by one whole pass a token.
"""
import argparse, json, re, tempfile
from pathlib import Path
import numpy as np, torch, transformers
from safetensors import safe_open
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM

HERE = Path(__file__).resolve().parent
transformers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()
torch.set_num_threads(1)

VOCAB, TOKENS, PAD = 44, 18, 3
WIDE = dict(vocab_size=VOCAB, hidden_size=24, intermediate_size=40, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2,
            max_position_embeddings=64, bos_token_id=1, eos_token_id=2, pad_token_id=PAD)
NEOX = {k: v for k, v in WIDE.items() if k != "num_key_value_heads"} | {"model_type": "gpt_neox", "hidden_size": 32}
OPT = dict(model_type="opt", vocab_size=VOCAB, hidden_size=24, ffn_dim=40, num_hidden_layers=3, num_attention_heads=4, max_position_embeddings=48,
           bos_token_id=2, eos_token_id=2, pad_token_id=PAD)
GPT2 = dict(model_type="gpt2", vocab_size=VOCAB, n_embd=24, n_layer=3, n_head=4, n_positions=48, bos_token_id=2, eos_token_id=2, pad_token_id=PAD)
NEO = dict(model_type="gpt_neo", vocab_size=VOCAB, hidden_size=24, num_heads=4, max_position_embeddings=48, bos_token_id=2, eos_token_id=2,
           pad_token_id=PAD)

def rope(kind="default", theta=1000.0, **more): return {"rope_type": kind, "rope_theta": theta} | more

VARIANTS = {
    "llama_yarn": WIDE | dict(model_type="llama", head_dim=16, rope_parameters=rope("yarn", factor=4.0, original_max_position_embeddings=16)),
    "llama_yarn_mscale_old": WIDE | dict(model_type="llama", head_dim=16, tie_word_embeddings=True, rope_parameters=rope(
        "yarn", factor=8.0, original_max_position_embeddings=8, beta_fast=4.0, beta_slow=0.5, mscale=1.2, mscale_all_dim=0.7, truncate=False)),
    "llama_yarn_attention_factor": WIDE | dict(model_type="llama", rope_parameters=rope("yarn", factor=4.0, attention_factor=1.3)),
    "llama_linear_biases": WIDE | dict(model_type="llama", attention_bias=True, mlp_bias=True, rope_parameters=rope("linear", factor=2.5)),
    "mistral_sliding_old": WIDE | dict(model_type="mistral", sliding_window=5, head_dim=8, rope_parameters=rope()),
    "mistral_window_of_one": WIDE | dict(model_type="mistral", sliding_window=1, num_key_value_heads=4, rope_parameters=rope()),
    "qwen2_upper_layers_old": WIDE | dict(model_type="qwen2", use_sliding_window=True, sliding_window=4, max_window_layers=1,
                                          tie_word_embeddings=True, rope_parameters=rope()),
    "qwen2_layer_types": WIDE | dict(model_type="qwen2", use_sliding_window=True, sliding_window=7, max_window_layers=9, rope_parameters=rope(),
                                     layer_types=["sliding_attention", "full_attention", "sliding_attention"]),
    "qwen3": WIDE | dict(model_type="qwen3", head_dim=10, tie_word_embeddings=True, rms_norm_eps=1e-5, rope_parameters=rope()),
    "qwen3_sliding_biases": WIDE | dict(model_type="qwen3", head_dim=6, attention_bias=True, use_sliding_window=True, sliding_window=5,
                                        max_window_layers=2, rope_parameters=rope("yarn", factor=2.0, original_max_position_embeddings=32)),
    "neox_sequential": NEOX | dict(use_parallel_residual=False, tie_word_embeddings=True, rope_parameters=rope(partial_rotary_factor=0.5)),
    "neox_no_bias_old": NEOX | dict(attention_bias=False, hidden_act="gelu_fast", rope_parameters=rope(partial_rotary_factor=1.0)),
    "neox_linear_old": NEOX | dict(rope_parameters=rope("linear", factor=2.0, partial_rotary_factor=0.25)),
    "opt_norm_after": OPT | dict(do_layer_norm_before=False, word_embed_proj_dim=16),
    "opt_no_bias_no_norm_weights": OPT | dict(enable_bias=False, layer_norm_elementwise_affine=False, activation_function="gelu",
                                              tie_word_embeddings=False),
    "opt_no_final_norm": OPT | {"_remove_final_layer_norm": True},
    "gpt2_scaled_by_layer": GPT2 | dict(scale_attn_by_inverse_layer_idx=True, n_inner=36, activation_function="gelu"),
    "gpt2_unscaled": GPT2 | dict(scale_attn_weights=False, tie_word_embeddings=False, activation_function="relu"),
    "gpt_neo_local": NEO | dict(num_layers=2, attention_types=[[["local"], 2]], window_size=3, intermediate_size=36),
    "gpt_neo_mixed": NEO | dict(num_layers=3, attention_types=[[["global"], 1], [["local"], 2]], window_size=6),
}

def random_variant(rng):
    """A family with fields drawn at random, the ones that change what is computed."""
    pick = lambda *options: options[rng.integers(len(options))]
    kind, layers = pick("llama", "mistral", "qwen2", "qwen3", "gpt_neox", "opt", "gpt2", "gpt_neo"), int(rng.integers(1, 5))
    tied, window, pad = bool(rng.integers(2)), int(rng.integers(1, 20)), pick(PAD, None)
    common = dict(model_type=kind, vocab_size=VOCAB, tie_word_embeddings=tied, pad_token_id=pad, bos_token_id=1, eos_token_id=2)
    heads, kv = pick((4, 2), (4, 4), (2, 1), (6, 3), (1, 1))
    flag = lambda: bool(rng.integers(2))
    act = pick("gelu_new", "gelu", "relu", "gelu_pytorch_tanh")
    scaled = pick({}, {}, dict(kind="linear", factor=float(rng.integers(1, 9)) / 2 + 0.5),
                  dict(kind="llama3", factor=4.0, low_freq_factor=1.0, high_freq_factor=float(rng.integers(2, 9)), original_max_position_embeddings=16),
                  dict(kind="yarn", factor=float(rng.integers(1, 9)), original_max_position_embeddings=int(rng.integers(2, 60)), truncate=flag(),
                       **pick({}, {"attention_factor": 0.8}, {"mscale": 1.5, "mscale_all_dim": 0.5}, {"mscale": 2.0}, {"beta_fast": 4, "beta_slow": 2})))
    rotary = rope(theta=float(pick(100, 10000, 1000000)), **scaled)
    if kind in ("llama", "mistral", "qwen2", "qwen3"):
        spec = common | dict(hidden_size=24, intermediate_size=int(rng.integers(5, 60)), num_hidden_layers=layers, num_attention_heads=heads,
                             num_key_value_heads=kv, max_position_embeddings=64, rms_norm_eps=pick(1e-5, 1e-3), rope_parameters=rotary)
        if kind == "qwen3" or flag(): spec |= {"head_dim": 2 * int(rng.integers(1, 9))}
        elif heads == 1 or 24 // heads % 2: spec |= {"head_dim": 8}
        if kind in ("llama", "qwen3"): spec |= {"attention_bias": flag()}
        if kind == "llama": spec |= {"mlp_bias": flag()}
        if kind == "mistral": spec |= {"sliding_window": pick(None, window)}
        if kind in ("qwen2", "qwen3"):
            spec |= dict(use_sliding_window=flag(), sliding_window=window, max_window_layers=int(rng.integers(0, layers + 1)))
        return spec
    if kind == "gpt_neox":
        return common | dict(hidden_size=16 * heads, intermediate_size=40, num_hidden_layers=layers, num_attention_heads=heads, hidden_act=act,
                             max_position_embeddings=64, attention_bias=flag(), use_parallel_residual=flag(), layer_norm_eps=pick(1e-5, 1e-2),
                             rope_parameters=rotary | {"partial_rotary_factor": pick(0.125, 0.25, 0.5, 0.75, 1.0)})
    if kind == "opt":
        return common | {"_remove_final_layer_norm": flag()} | dict(
            hidden_size=24, ffn_dim=int(rng.integers(5, 60)), num_hidden_layers=layers, num_attention_heads=heads, max_position_embeddings=48,
            do_layer_norm_before=flag(), word_embed_proj_dim=pick(24, 16, 30), enable_bias=flag(), layer_norm_elementwise_affine=flag(),
            activation_function=act)
    if kind == "gpt2":
        return common | dict(n_embd=24, n_layer=layers, n_head=heads, n_positions=48, n_inner=pick(None, 30), scale_attn_weights=flag(),
                             scale_attn_by_inverse_layer_idx=flag(), activation_function=act, layer_norm_epsilon=pick(1e-5, 1e-2),
                             reorder_and_upcast_attn=flag())
    return common | dict(hidden_size=24, num_layers=layers, num_heads=heads, max_position_embeddings=48, intermediate_size=pick(None, 30),
                         window_size=window, attention_types=[[[pick("global", "local")], 1] for _ in range(layers)], activation_function=act,
                         layer_norm_epsilon=pick(1e-5, 1e-2))

def digits(x):
    """Nested lists of numbers, to 8 significant digits."""
    if isinstance(x, torch.Tensor): x = x.tolist()
    if isinstance(x, dict): return {k: digits(v) for k, v in x.items()}
    if isinstance(x, (list, tuple)): return [digits(v) for v in x]
    return float("%.8g" % x) if isinstance(x, float) else x

def weights(name, shape):
    """Uniform in (-1,1) by splitmix64 over the FNV-1a hash of the name; norms around 1. The C++ twin is in family_golden_test.cc."""
    h = 0xCBF29CE484222325
    for byte in name.encode(): h = (h ^ byte) * 0x100000001B3 % 2**64
    with np.errstate(over="ignore"):
        x = np.uint64(h) + np.arange(1, np.prod(shape) + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        x ^= x >> np.uint64(31)
    u = (x >> np.uint64(40)).astype(np.float32) * np.float32(2**-23) - np.float32(1)
    if len(shape) > 1: u *= np.float32(0.375)
    elif name.endswith("weight"): u = np.float32(1) + u * np.float32(0.25)
    else: u *= np.float32(0.125)
    return torch.from_numpy(u.reshape(shape))

def old_dialect(c):
    """config.json as transformers 4 wrote it."""
    c = dict(c)
    c["torch_dtype"] = c.pop("dtype")
    r = dict(c.pop("rope_parameters"))
    theta, kind, part = r.pop("rope_theta"), r.pop("rope_type"), r.pop("partial_rotary_factor", None)
    c["rope_scaling"] = {"type": kind} | r if kind != "default" else None
    return c | ({"rope_theta": theta} if c["model_type"] != "gpt_neox" else {"rotary_emb_base": theta, "rotary_pct": part})

def stored_model(name, spec, folder):
    """A folder with the weights of `weights`, and the model that transformers loads from it."""
    spec = dict(spec)
    config = AutoConfig.for_model(spec.pop("model_type"), **spec)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    saved = json.loads((folder / "config.json").read_text())
    if name.endswith("_old"): saved = old_dialect(saved)
    saved.pop("transformers_version")
    (folder / "config.json").write_text(json.dumps(saved))
    with safe_open(folder / "model.safetensors", "pt") as f: shapes = {k: f.get_slice(k).get_shape() for k in f.keys()}
    save_file({k: weights(k, s) for k, s in shapes.items()}, folder / "model.safetensors", metadata={"format": "pt"})
    model, info = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"], (name, info)
    return saved, list(shapes), model.eval()

def file_names(names, model):
    """The file's name for each parameter; a tied one comes once."""
    result = {}
    for name, _ in model.named_parameters():
        options = [name, name.removeprefix(model.base_model_prefix + "."), {"lm_head.weight": "embed_out.weight"}.get(name)]
        result[name] = next(o for o in options if o in names)
    return result

def nll_of(logits, ids):
    return torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten(), reduction="none").view(ids.shape[0], -1)

@torch.no_grad()
def greedy(model, ids, count):
    out, margins = list(ids), []
    for _ in range(count):
        best = model(torch.tensor([out])).logits[0, -1].topk(2)
        margins.append((best.values[0] - best.values[1]).item())
        out.append(best.indices[0].item())
    return out[len(ids):], min(margins)

def golden(name, spec, out):
    with tempfile.TemporaryDirectory() as folder: config, stored, model = stored_model(name, spec, Path(folder))
    names = file_names(stored, model)
    ids = np.random.default_rng(len(name)).integers(0, VOCAB, (2, TOKENS))
    ids[0, 4] = ids[1, 9] = ids[1, 10] = PAD
    ids = torch.from_numpy(ids)
    logits = model(ids).logits
    nll = nll_of(logits, ids)
    nll.mean().backward()
    norms = {names[n]: p.grad.double().norm().item() for n, p in model.named_parameters()}
    said, margin = greedy(model, ids[0, :6].tolist(), 14)
    if margin < 1e-3: return print(f"{name:28} left out: two choices are nearly equal")
    value = {"made_with": {"torch": torch.__version__.split("+")[0], "transformers": transformers.__version__}, "config": config,
             "input_ids": ids.tolist(), "log_probs": digits(-nll), "logits": digits(logits[:, -2:]), "mean_nll": digits(nll.mean().item()),
             "grad_norm": digits(sum(v * v for v in norms.values()) ** 0.5), "grad_norms": digits(norms),
             "greedy": {"prompt": ids[0, :6].tolist(), "continuation": said}}
    text = json.dumps(value, indent=1)
    text = re.sub(r"\[\s+([^\[\]{}\"]*?)\s+\]", lambda m: "[" + re.sub(r",\s+", ", ", m[1]) + "]", text)
    assert json.loads(text) == value
    (out / f"{name}.json").write_text(text + "\n")
    print(f"{name:28} NLL {value['mean_nll']:.4f}, margin {margin:.3g}, {len(text) / 1000:.1f} kB")

def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("names", nargs="*", help="of variants; all where none is given")
    a.add_argument("--random", type=int, default=0)
    a.add_argument("--seed", type=int, default=1)
    a.add_argument("--out", type=Path, default=HERE)
    o = a.parse_args()
    o.out.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(o.seed)
    for i in range(o.random):
        spec = random_variant(rng)
        old = "_old" if "rope_parameters" in spec and rng.integers(2) else ""
        golden(f"{spec['model_type']}_{o.seed}_{i}{old}", spec, o.out)
    if o.random == 0:
        for name, spec in VARIANTS.items():
            if not o.names or name in o.names: golden(name, spec, o.out)

if __name__ == "__main__":
    main()
