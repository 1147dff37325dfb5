"""Continuations of some prompts of one length by Hugging Face transformers: the peer of bench_generate.

  greedy | beams   one generate() of all prompts; {"seconds", "ids": [prompt][new tokens]}
"""
import argparse, json, time
import torch, transformers
from transformers import AutoModelForCausalLM
from peer import serve

parser = argparse.ArgumentParser()
parser.add_argument("--model", required=True)
parser.add_argument("--ids", required=True, help="JSON list of lists of token ids, all of one length")
parser.add_argument("--threads", type=int, required=True)
parser.add_argument("--new", type=int, required=True)
parser.add_argument("--beams", type=int, required=True)
options = parser.parse_args()

transformers.utils.logging.set_verbosity_error()
torch.set_num_threads(options.threads)
model = AutoModelForCausalLM.from_pretrained(options.model, dtype=torch.float32).eval()
model.generation_config.eos_token_id = None  # an end token is a token like any other
prompts = torch.tensor(json.loads(open(options.ids).read()))


def said(beams):
    begin = time.perf_counter()
    with torch.no_grad():
        out = model.generate(prompts, attention_mask=torch.ones_like(prompts), do_sample=False, num_beams=beams, pad_token_id=0,
                             max_new_tokens=options.new, min_new_tokens=options.new)
    return {"seconds": time.perf_counter() - begin, "ids": out[:, prompts.shape[1]:].tolist()}


serve({"greedy": lambda: said(1), "beams": lambda: said(options.beams)})
