"""EL_n as it was published (Jang et al., ACL 2023), one generate() a prefix, by Hugging Face transformers: the peer of bench_el.

  sequence S STRIDE   every STRIDE-th prefix of sequence S, from the middle of the first stride on; {"seconds", "el": their mean,
                      "read" and "generated": what the T-1 generations of the published procedure, which gives MA, too, feed to the
                      model: prompts, and new tokens. Those behind T-n count for no EL_n and are not timed here}
  warm-up             one short generation
"""
import argparse, json, time
import torch, transformers
from transformers import AutoModelForCausalLM
from peer import serve

parser = argparse.ArgumentParser()
parser.add_argument("--model", required=True)
parser.add_argument("--ids", required=True, help="JSON list of lists of token ids")
parser.add_argument("--threads", type=int, required=True)
parser.add_argument("--n", type=int, required=True)
options = parser.parse_args()

transformers.utils.logging.set_verbosity_error()
torch.set_num_threads(options.threads)
model = AutoModelForCausalLM.from_pretrained(options.model, dtype=torch.float32).eval()
model.generation_config.eos_token_id = None  # an end token is a token like any other
sequences = json.loads(open(options.ids).read())


def continuation(ids, total):
    prompt = torch.tensor([ids])
    with torch.no_grad():
        said = model.generate(prompt, attention_mask=torch.ones_like(prompt), do_sample=False, pad_token_id=0,
                              min_new_tokens=total - len(ids), max_new_tokens=total - len(ids))
    return said[0, len(ids):].tolist()


def ngrams(ids):
    return [tuple(ids[i:i + options.n]) for i in range(len(ids) - options.n + 1)]


def overlap(said, truth):
    there = set(ngrams(truth))
    found = ngrams(said)
    return sum(gram in there for gram in found) / len(found)


def sequence(number, stride):
    ids, stride = sequences[int(number)], int(stride)
    total = len(ids)
    prefixes = range(1, total - options.n + 1)
    begin = time.perf_counter()
    values = [overlap(continuation(ids[:i], total), ids[i:]) for i in prefixes[stride // 2::stride]]
    seconds = time.perf_counter() - begin
    # A prefix is read once, and each new token but the last is fed again: (T-1)^2 in all.
    read = sum(i for i in range(1, total))
    generated = sum(total - i - 1 for i in range(1, total))
    return {"seconds": seconds, "el": sum(values) / len(values), "read": read, "generated": generated}


def warm_up():
    continuation(sequences[0][:4], 12)
    return {}


serve({"sequence": sequence, "warm-up": warm_up})
