#!/usr/bin/env bash
# Makes prompts/shipped: the prompts and routes that come with the pocket models.
#
#   make setup && training/ship.sh [DATA] [WORK]      (MODELS=pocket-xglm: only train that one)
#
# Candidates, for each model: English few-shot prompts as in the paper, plain and reparameterized;
# the same from all English examples and from typologically diverse languages; and plain prompts from
# the train split of one clade's own languages. The dev split of the paper's 52 languages chooses
# among them; the test split is only reported. Finished prompts and languages are kept, so the
# script can be interrupted and run again.
set -euo pipefail
cd "$(dirname "$0")/.."
data=${1:-../shared/data/sib200}
work=${2:-out/shipped}
isogloss=${ISOGLOSS:-.venv/bin/isogloss}

diverse=eng_Latn,fra_Latn,rus_Cyrl,hin_Deva,arb_Arab,swh_Latn,yor_Latn,ind_Latn,zho_Hans,tam_Taml,tur_Latn,fin_Latn
# clade=its languages, of those in the paper's list
clades=(
  romance=fra_Latn,spa_Latn,por_Latn,cat_Latn,ita_Latn
  germanic=eng_Latn,deu_Latn
  slavic=bul_Cyrl,rus_Cyrl
  indo-aryan=hin_Deva,urd_Arab,ben_Beng,mar_Deva,guj_Gujr,npi_Deva,ory_Orya,asm_Beng
  dravidian=tam_Taml,tel_Telu,kan_Knda,mal_Mlym
  bantu=swh_Latn,kin_Latn,zul_Latn,xho_Latn,sna_Latn,nso_Latn,lin_Latn,kik_Latn,tum_Latn
  volta-congo=yor_Latn,ibo_Latn,twi_Latn,aka_Latn,fon_Latn
  sino-tibetan=zho_Hans,mya_Mymr
  uralic=fin_Latn,est_Latn
)

# Clades that may get a route, in lang2vec's names: families, and the branches of the two largest.
# Many families have one language in the evidence, so one is enough, but it must gain over a point.
routed=Indo-European,Romance,Germanic,Slavic,Indo-Aryan,Atlantic-Congo,Narrow_Bantu
routed+=,Afro-Asiatic,Austroasiatic,Austronesian,Dravidian,Japonic,Koreanic,Mande,Quechuan
routed+=,Sino-Tibetan,Tai-Kadai,Turkic,Uralic

for model in ${MODELS:-pocket-bloom pocket-xglm}; do
  short=${model#pocket-}
  out=$work/$model
  mkdir -p "$out/chosen"

  # train KINDS NAME SOURCES SHOTS [OPTION...]: a prompt of each kind
  train() {
    local kinds=$1 name=$2 sources=$3 shots=$4
    shift 4
    local kind
    for kind in $kinds; do
      local file=$short-$name-$kind
      [ -f "$out/chosen/$file.safetensors" ] && continue
      echo "==> $file"
      "$isogloss" train --model "$model" --data "$data" --out "$out" --name "$file" --resume \
        --source "$sources" --shots "$shots" \
        --reparameterization "$([ $kind = plain ] && echo none || echo residual)" "$@"
      cp "$out/$file-seed0.safetensors" "$out/chosen/$file.safetensors"
    done
  }

  train 'plain residual' english-8 eng_Latn 8
  train 'plain residual' english-all eng_Latn all --batch-size 16
  train 'plain residual' diverse "$diverse" all --batch-size 32 --epochs 4
  for clade in "${clades[@]}"; do
    train plain "${clade%%=*}" "${clade#*=}" all --batch-size 32 --epochs 4
  done

  for split in dev test; do
    "$isogloss" evaluate --model "$model" --data "$data" --split "$split" --languages all \
      --prompts "$out/chosen" --out "$out/$split.csv" | tee "$out/$split.txt"
  done
done

[ -z "${MODELS:-}" ] || exit 0 # some models only: the routes are built when all are there
rm -rf "$work/store"
"$isogloss" prompts publish "$work"/*/chosen/*.safetensors --store "$work/store"
for model in pocket-bloom pocket-xglm; do
  "$isogloss" route --evaluations "$work/$model/dev.csv" --prompts "$work/$model/chosen" \
    --clades "$routed" --min-languages 1 --min-sentences 99 --min-gain 1 \
    --store "$work/store" --note "shipped with $model" | tee "$work/$model/routes.txt"
done
rm -rf prompts/shipped
cp -r "$work/store" prompts/shipped
echo "==> prompts/shipped"
"$isogloss" prompts list --store prompts/shipped
