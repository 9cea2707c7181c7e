# Integration of expression with gene activity as the vignettes of Seurat 4 do it: transfer anchors by canonical
# correlation, expression imputed for ATAC cells, and principal components of both together.
# Arguments: a folder with rna.mtx, activity.mtx (genes x cells) and lsi.csv (cells x components), and the seed.
suppressPackageStartupMessages({
  library(Matrix)
  library(Seurat)
})

arguments <- commandArgs(trailingOnly = TRUE)
place <- function(name) file.path(arguments[1], name)
set.seed(as.integer(arguments[2]))

counts <- function(name) {
  values <- as(readMM(place(paste0(name, ".mtx"))), "CsparseMatrix")
  dimnames(values) <- list(paste0("gene", seq_len(nrow(values))), paste0(name, seq_len(ncol(values))))
  values
}

rna <- CreateSeuratObject(counts("rna"), assay = "RNA")
rna <- NormalizeData(rna, verbose = FALSE)
rna <- FindVariableFeatures(rna, verbose = FALSE)
genes <- VariableFeatures(rna)

atac <- CreateSeuratObject(counts("activity"), assay = "ACTIVITY")
atac <- NormalizeData(atac, verbose = FALSE)
atac <- ScaleData(atac, features = rownames(atac), verbose = FALSE)
lsi <- as.matrix(read.csv(place("lsi.csv"), header = FALSE))
dimnames(lsi) <- list(colnames(atac), paste0("LSI_", seq_len(ncol(lsi))))
atac[["lsi"]] <- CreateDimReducObject(lsi, key = "LSI_", assay = "ACTIVITY")

anchors <- FindTransferAnchors(
  reference = rna, query = atac, features = genes, reference.assay = "RNA", query.assay = "ACTIVITY",
  reduction = "cca", verbose = FALSE
)
# The first component of LSI, which is depth, was left out before.
imputed <- TransferData(
  anchors, refdata = GetAssayData(rna, assay = "RNA", slot = "data"), weight.reduction = atac[["lsi"]],
  dims = seq_len(ncol(lsi)), verbose = FALSE
)
atac[["RNA"]] <- imputed
DefaultAssay(atac) <- "RNA"
joint <- merge(rna, atac)
joint <- ScaleData(joint, features = genes, do.scale = FALSE, verbose = FALSE)
joint <- RunPCA(joint, features = genes, npcs = 30, verbose = FALSE)
order <- c(colnames(rna), colnames(atac))
write.table(Embeddings(joint, "pca")[order, ], place("joint.csv"), sep = ",", row.names = FALSE, col.names = FALSE)
# Column after column: genes x cells here is cells x genes where rows come first.
writeBin(as.numeric(as.matrix(imputed@data[rownames(rna), colnames(atac)])), place("expression.bin"), size = 4)
